"""Fields of SSIM records: dates, days, times and variations. All raise ValueError with a one-line reason."""

import re
from datetime import date, timedelta
from typing import Final

OPEN_DATE: Final = "00XXX00"
MONTHS: Final = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
CENTURY: Final = 2000
"""Of the two digits that SSIM has for years."""

MINUTES: Final = 24 * 60
"""Of a day; SSIM writes its end as 2400."""

_CLOCK: Final = re.compile(r"([01][0-9]|2[0-3])([0-5][0-9])|2400", re.ASCII)
_DATE: Final = re.compile(r"([0-9]{2})([A-Z]{3})([0-9]{2})", re.ASCII)
_VARIATION: Final = re.compile(r"([+-])([01][0-9])([0-5][0-9])", re.ASCII)


def parse_date(text: str, what: str) -> date | None:
    """A date such as 01DEC26; None for the open one."""
    if text == OPEN_DATE:
        return None
    match = _DATE.fullmatch(text)
    try:
        if match is None:
            raise ValueError
        return date(CENTURY + int(match[3]), MONTHS.index(match[2]) + 1, int(match[1]))
    except ValueError:
        raise ValueError(f"{what} {text!r} is not a date such as 01DEC26") from None


def parse_days(text: str) -> frozenset[int]:
    """ISO weekdays of seven columns, each with its digit or a blank."""
    days = frozenset(position for position, char in enumerate(text, 1) if char == str(position))
    if not days or any(char not in {" ", "0", str(position)} for position, char in enumerate(text, 1)):
        raise ValueError(f"days of operation {text!r} are not the digits 1 to 7, each in its place")
    return days


def parse_clock(text: str, what: str) -> int:
    """Minutes of the day, up to and with its end."""
    match = _CLOCK.fullmatch(text)
    if match is None:
        raise ValueError(f"{what} {text!r} is not a time HHMM")
    return int(match[1]) * 60 + int(match[2]) if match[1] else MINUTES


def parse_variation(text: str) -> timedelta:
    """How far local time is ahead of UTC, from +hhmm."""
    match = _VARIATION.fullmatch(text)
    if match is None:
        raise ValueError(f"UTC variation {text!r} is not written as +0530")
    offset = timedelta(hours=int(match[2]), minutes=int(match[3]))
    return -offset if match[1] == "-" else offset


def parse_date_variation(char: str, what: str) -> int | None:
    """Days, A being the day before; None for a blank."""
    if char == " ":
        return None
    if char not in "01234567AJ":
        raise ValueError(f"date variation {char!r} of the {what} is not 0 to 7 or A")
    return int(char) if char.isdigit() else -1
