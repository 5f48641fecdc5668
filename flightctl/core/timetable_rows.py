"""Flights back into rows of a schedule: what flies alike on many dates becomes few rows with days and validity."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Final, NamedTuple

from flightctl.core.model.flights import Flight
from flightctl.core.network import to_local
from flightctl.core.timetable_row import (
    MAX_DAY_OFFSET,
    MAX_SEATS,
    MIN_DAY_OFFSET,
    ScheduleRow,
    check_price,
    clean_carrier,
    clean_number,
    normal_flight_time,
)

_WEEK: Final = 7


class Pattern(NamedTuple):
    """What flights of one row have in common. Times are local; ``offsets`` are those of both ends from UTC."""

    carrier: str
    number: str
    origin: str
    destination: str
    departure: time
    arrival: time
    day_offset: int
    seats: int
    price: Decimal
    offsets: tuple[timedelta, timedelta] | None


@dataclass(slots=True)
class Rows:
    """Takes flights one by one; ``left_out`` are those that no schedule file can tell, with the reason."""

    with_offsets: bool = False
    """Whether a row ends where a clock changes, for formats that state the difference from UTC."""
    years: range | None = None
    """Those that the format can tell."""
    left_out: list[tuple[str, str]] = field(default_factory=list)
    _days: dict[Pattern, list[int]] = field(default_factory=dict)

    def add(self, flight: Flight) -> None:
        try:
            pattern = self._pattern(flight)
        except ValueError as bad:
            self.left_out.append((flight.flight_id, str(bad)))
        else:
            self._days.setdefault(pattern, []).append(flight.departure_date.toordinal())

    def rows(self) -> Iterator[tuple[ScheduleRow, Pattern]]:
        """By flight number, origin and date."""
        for pattern in sorted(self._days, key=_order):
            for first, last, weekdays in spans(sorted(self._days[pattern])):
                row = _row(pattern, first, last, weekdays)
                try:
                    normal_flight_time(row)
                except ValueError as bad:  # it lands in the hour that comes twice when clocks go back
                    name = f"{pattern.carrier}{pattern.number} of {row.valid_from}"
                    self.left_out.append((name, str(bad)))
                else:
                    yield row, pattern

    def _pattern(self, flight: Flight) -> Pattern:
        """Raises ValueError with what stands against it."""
        if not flight.carrier or not flight.flight_number:
            raise ValueError("it has no carrier and number")
        carrier, number = clean_carrier(flight.carrier), clean_number(flight.flight_number)
        if flight.total_seats > MAX_SEATS:
            raise ValueError(f"it has more than {MAX_SEATS} seats")
        leaves, lands = (
            to_local(flight.departure_time, flight.source),
            to_local(flight.arrival_time, flight.destination),
        )
        day_offset = (lands.date() - leaves.date()).days
        if leaves.date() != flight.departure_date or not MIN_DAY_OFFSET <= day_offset <= MAX_DAY_OFFSET:
            raise ValueError("its dates do not fit a row")
        if self.years is not None and leaves.year not in self.years:
            raise ValueError(f"the file's years are {self.years[0]} to {self.years[-1]}")
        offsets = (leaves.utcoffset() or timedelta(), lands.utcoffset() or timedelta()) if self.with_offsets else None
        return Pattern(
            carrier,
            number,
            flight.source,
            flight.destination,
            minute(leaves).time(),
            minute(lands).time(),
            day_offset,
            flight.total_seats,
            check_price(flight.price),
            offsets,
        )


def minute(at: datetime) -> datetime:
    """Without seconds and zone: files tell local times by the minute."""
    return at.replace(second=0, microsecond=0, tzinfo=None, fold=0)


def spans(days: list[int]) -> Iterator[tuple[int, int, frozenset[int]]]:
    """First and last day and weekdays (1 = Monday) of stretches that together are just these ascending days, given as
    ordinals of ``date``; each is as long as the weekdays of its first week go on."""
    present, at = frozenset(days), 0
    while at < len(days):
        first = last = days[at]
        pattern = frozenset(day % _WEEK for day in range(first, first + _WEEK) if day in present)
        day = first
        while day < first + _WEEK or (day % _WEEK in pattern) == (day in present):
            if day in present:
                last = day
                at += 1
            day += 1
        weekdays = frozenset(
            (ordinal - 1) % _WEEK + 1 for ordinal in range(first, min(last, first + 6) + 1) if ordinal in present
        )
        yield first, last, weekdays


def _row(pattern: Pattern, first: int, last: int, weekdays: Iterable[int]) -> ScheduleRow:
    return ScheduleRow(
        line=0,
        carrier=pattern.carrier,
        flight_number=pattern.number,
        origin=pattern.origin,
        destination=pattern.destination,
        departure_local=pattern.departure,
        arrival_local=pattern.arrival,
        arrival_day_offset=pattern.day_offset,
        days=frozenset(weekdays),
        valid_from=date.fromordinal(first),
        valid_to=date.fromordinal(last),
        seats=pattern.seats,
        price=pattern.price,
    )


def _order(pattern: Pattern) -> tuple[object, ...]:
    number = pattern.number
    return (pattern.carrier, int("".join(filter(str.isdigit, number))), *pattern[1:-1], pattern.offsets or ())
