"""CSV schedule files (SPEC section 4) into ``Schedule``: good rows, and bad ones with the reason."""

import csv
import re
from collections.abc import Iterator, Sequence
from datetime import date, time
from functools import lru_cache
from pathlib import Path
from typing import Final

from flightctl.core.errors import ValidationError
from flightctl.core.timetable_row import (
    MAX_DAY_OFFSET,
    MIN_DAY_OFFSET,
    Accepted,
    RejectedRow,
    Schedule,
    ScheduleRow,
    check_route,
    clean_airport,
    clean_carrier,
    clean_number,
    clean_price,
    clean_seats,
    shorten,
)

COLUMNS: Final = (
    "carrier",
    "flight_number",
    "origin",
    "destination",
    "departure_local",
    "arrival_local",
    "arrival_day_offset",
    "days_of_operation",
    "valid_from",
    "valid_to",
    "aircraft_or_seats",
    "price",
)
HEADER_HINT: Final = "The first line must be: " + ",".join(COLUMNS)

_TIME = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])", re.ASCII)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_OFFSET = re.compile(r"[+-]?[0-9]{1,3}", re.ASCII)
_DAYS = re.compile(r"[1-7]+", re.ASCII)


def read_csv(path: Path, data: bytes) -> Schedule:
    """Rows of a CSV file's content, UTF-8 with or without a byte order mark, any line ends.

    Raises ValidationError when it is not text or lacks a column. A bad row is in ``rejected`` with its line and the
    reason, and nothing of it in ``rows``.
    """
    lines = _lines(path, data)
    first = next(lines, None)
    if first is None:
        raise ValidationError(f"{path} is empty", hint=HEADER_HINT)
    columns = _header(path, first[1])
    accepted, rejected = Accepted(), list[RejectedRow]()
    for number, line in lines:
        fields = dict[str, str]()
        try:
            fields = _fields(line, columns)
            accepted.add(_row(number, fields))
        except ValueError as bad:
            rejected.append(RejectedRow(number, shorten(str(bad)), _designator(fields)))
    return accepted.schedule(rejected)


def _designator(fields: dict[str, str]) -> str:
    try:
        return clean_carrier(fields["carrier"]) + clean_number(fields["flight_number"])
    except (KeyError, ValueError):
        return ""


def _lines(path: Path, data: bytes) -> Iterator[tuple[int, str]]:
    """Lines that are not blank, with their numbers from 1."""
    text = _text(path, data).replace("\r\n", "\n").replace("\r", "\n")
    # Not splitlines(): that splits at characters, too, that editors do not count as line ends.
    return ((number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip(" \t,"))


def _text(path: Path, data: bytes) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise ValidationError(f"{path} is not UTF-8 text", hint="Save the schedule as CSV in UTF-8.")
    return text


def _split(line: str) -> list[str]:
    # One reader a line: a stray quote then spoils its own line and not all that follow.
    try:
        return [value.strip() for value in next(csv.reader((line,), strict=True, skipinitialspace=True))]
    except csv.Error as problem:
        raise ValueError(f"the line is not CSV: {problem}") from None


def _header(path: Path, line: str) -> list[str]:
    try:
        columns = [re.sub(r"[\s_-]+", "_", name.strip().lower()) for name in _split(line)]
    except ValueError as problem:
        raise ValidationError(f"{path}: {problem}", hint=HEADER_HINT) from None
    missing = [name for name in COLUMNS if name not in columns]
    if len(missing) == len(COLUMNS):
        raise ValidationError(f"{path} is no schedule: its first line has none of the columns", hint=HEADER_HINT)
    if missing:
        raise ValidationError(f"{path} lacks columns: {', '.join(missing)}", hint=HEADER_HINT)
    twice = sorted({name for name in COLUMNS if columns.count(name) > 1})
    if twice:
        raise ValidationError(f"{path} has the column {twice[0]} more than once", hint=HEADER_HINT)
    return columns


def _fields(line: str, columns: Sequence[str]) -> dict[str, str]:
    values = _split(line)
    if len(values) != len(columns):
        few = "few" if len(values) < len(columns) else "many"
        raise ValueError(f"too {few} columns: {len(values)} instead of {len(columns)}")
    return dict(zip(columns, values, strict=True))


def _row(line: int, fields: dict[str, str]) -> ScheduleRow:
    origin = clean_airport(fields["origin"], "origin")
    destination = clean_airport(fields["destination"], "destination")
    check_route(origin, destination)
    return ScheduleRow(
        line=line,
        carrier=clean_carrier(fields["carrier"]),
        flight_number=clean_number(fields["flight_number"]),
        origin=origin,
        destination=destination,
        departure_local=_time(fields, "departure_local"),
        arrival_local=_time(fields, "arrival_local"),
        arrival_day_offset=_day_offset(fields["arrival_day_offset"]),
        days=_days(fields["days_of_operation"]),
        valid_from=_date(fields, "valid_from"),
        valid_to=_date(fields, "valid_to"),
        seats=clean_seats(fields["aircraft_or_seats"]),
        price=clean_price(fields["price"], origin, destination),
        names_seats=bool(fields["aircraft_or_seats"]),
        names_price=bool(fields["price"]),
    )


@lru_cache(maxsize=1440)
def _clock(text: str) -> time | None:
    match = _TIME.fullmatch(text)
    return time(int(match[1]), int(match[2])) if match else None


def _time(fields: dict[str, str], column: str) -> time:
    found = _clock(fields[column])
    if found is None:
        raise ValueError(f"{column} {fields[column]!r} is not a time HH:MM")
    return found


def _date(fields: dict[str, str], column: str) -> date | None:
    text = fields[column]
    try:
        return _calendar(text) if text else None
    except ValueError:
        raise ValueError(f"{column} {text!r} is not a date YYYY-MM-DD") from None


@lru_cache(maxsize=1024)
def _calendar(text: str) -> date:
    # fromisoformat alone would take week dates and dates without hyphens as well
    return date.fromisoformat(text if _DATE.fullmatch(text) else "")


def _day_offset(text: str) -> int:
    if not _OFFSET.fullmatch(text) or not MIN_DAY_OFFSET <= int(text) <= MAX_DAY_OFFSET:
        raise ValueError(f"arrival_day_offset {text!r} is not a number from {MIN_DAY_OFFSET} to {MAX_DAY_OFFSET}")
    return int(text)


@lru_cache(maxsize=128)  # there are 127 sets of weekdays
def _days(text: str) -> frozenset[int]:
    days = frozenset(map(int, text)) if _DAYS.fullmatch(text) else frozenset()
    if not days or len(days) != len(text):
        raise ValueError(f"days_of_operation {text!r} is not digits 1 to 7, each at most once")
    return days
