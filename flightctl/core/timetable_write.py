"""Rows of a schedule as the text of a file: CSV (SPEC section 4), or SSIM chapter 7 in local times."""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from itertools import groupby
from typing import Final

from flightctl.core.ssim_fields import MONTHS
from flightctl.core.ssim_leg import DEI_PRICE, LENGTH, PRICE_MARK
from flightctl.core.timetable_csv import COLUMNS
from flightctl.core.timetable_row import ScheduleRow
from flightctl.core.timetable_rows import Pattern
from flightctl.core.timetable_ssim import SERIALS

BLOCK: Final = 5
"""Records of a block; lines of zeros fill the last one."""
EQUIPMENT_VARIES: Final = "EQV"
"""The aircraft's type, which flights do not have; their seats stand in the configuration."""
SCHEDULED_PASSENGERS: Final = "J"
_TITLE: Final = "AIRLINE STANDARD SCHEDULE DATA SET"


def to_csv(rows: Iterable[ScheduleRow]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(csv_fields(row) for row in rows)
    return text.getvalue()


def csv_fields(row: ScheduleRow) -> list[str]:
    """In the order of COLUMNS."""
    return [
        row.carrier,
        row.flight_number,
        row.origin,
        row.destination,
        f"{row.departure_local:%H:%M}",
        f"{row.arrival_local:%H:%M}",
        str(row.arrival_day_offset),
        "".join(map(str, sorted(row.days))),
        row.valid_from.isoformat() if row.valid_from else "",
        row.valid_to.isoformat() if row.valid_to else "",
        str(row.seats),
        f"{row.price:.2f}",
    ]


def to_ssim(rows: Iterable[tuple[ScheduleRow, Pattern]], *, created: date) -> str:
    """One part for each airline; each row is an itinerary of one leg. Prices stand in a record 4 each."""
    lines = _Lines()
    lines.add({1: "1" + _TITLE, 41: "1", 192: "001"})
    lines.pad()
    for carrier, own in groupby(rows, key=lambda pair: pair[0].carrier):
        _airline(lines, carrier, list(own), created)
    return "".join(f"{line}\n" for line in lines.lines)


class _Lines:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.serial = 0

    def add(self, texts: Mapping[int, str]) -> None:
        """A record of texts by the column where each begins, with the next serial number."""
        self.serial = (self.serial + 1) % SERIALS
        record, end = "", 0
        for column, text in sorted(texts.items()):
            record += " " * (column - 1 - end) + text
            end = column - 1 + len(text)
        self.lines.append(f"{record:<{LENGTH - 6}}{self.serial:06}")

    def pad(self) -> None:
        self.lines += ["0" * LENGTH] * (-len(self.lines) % BLOCK)


def _airline(lines: _Lines, carrier: str, rows: Sequence[tuple[ScheduleRow, Pattern]], created: date) -> None:
    first = min(row.valid_from for row, _ in rows if row.valid_from)
    last = max(row.valid_to for row, _ in rows if row.valid_to)
    lines.add(
        {1: f"2L{carrier}", 15: _date(first) + _date(last) + _date(created), 36: "FLIGHTCTL", 72: "P", 191: "0000"}
    )
    lines.pad()
    itineraries = Counter[str]()
    for row, pattern in rows:
        itineraries[row.flight_number] += 1
        for record in _records(row, pattern, itineraries[row.flight_number]):
            lines.add(record)
    check = lines.serial
    lines.pad()
    lines.add({1: f"5 {carrier}", 188: f"{check:06}E"})
    lines.pad()


def _records(row: ScheduleRow, pattern: Pattern, itinerary: int) -> Iterator[dict[int, str]]:
    suffix = row.flight_number[-1] if row.flight_number[-1].isalpha() else " "
    number = row.flight_number.removesuffix(suffix)
    overflow = str(itinerary // 100 % 10) if itinerary >= 100 else " "
    leg = f"{suffix}{row.carrier:<3}{number:>4}{itinerary % 100:02}01{SCHEDULED_PASSENGERS}"
    departs, arrives = (f"{at:%H%M}" for at in (row.departure_local, row.arrival_local))
    assert row.valid_from is not None
    assert row.valid_to is not None
    assert pattern.offsets is not None
    yield {
        1: "3" + leg,
        15: _date(row.valid_from) + _date(row.valid_to),
        29: "".join(str(day) if day in row.days else " " for day in range(1, 8)),
        37: row.origin + departs + departs + _variation(pattern.offsets[0]),
        55: row.destination + arrives + arrives + _variation(pattern.offsets[1]),
        73: EQUIPMENT_VARIES,
        128: overflow,
        173: f"Y{row.seats}",
        193: "0" + ("A" if row.arrival_day_offset < 0 else str(row.arrival_day_offset)),
    }
    yield {
        1: "4" + leg,
        28: overflow,
        29: f"AB{DEI_PRICE:03}{row.origin}{row.destination}{PRICE_MARK}{row.price:.2f}",
    }


def _date(day: date) -> str:
    return f"{day.day:02}{MONTHS[day.month - 1]}{day.year % 100:02}"


def _variation(offset: timedelta) -> str:
    minutes = abs(offset) // timedelta(minutes=1)
    return f"{'-' if offset < timedelta() else '+'}{minutes // 60:02}{minutes % 60:02}"
