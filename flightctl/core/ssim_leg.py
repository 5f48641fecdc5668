"""One leg of an SSIM chapter 7 file (a record 3 and the records 4 after it) into rows of a schedule.

Columns are those of the IATA manual, counted from 1. A leg says its times locally or in UTC; rows are local. A leg in
UTC becomes one row for each stretch of dates on which the clocks of both airports stay as they are.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Final, NamedTuple

from flightctl.core.aircraft import seats_of_configuration, seats_of_type
from flightctl.core.network import zone
from flightctl.core.ssim_fields import (
    CENTURY,
    MINUTES,
    parse_clock,
    parse_date,
    parse_date_variation,
    parse_days,
    parse_variation,
)
from flightctl.core.timetable_row import (
    DEFAULT_SEATS,
    MAX_DAY_OFFSET,
    MIN_DAY_OFFSET,
    ScheduleRow,
    check_route,
    check_seats,
    clean_airport,
    clean_carrier,
    clean_number,
    clean_price,
    utc_offset,
)

LENGTH: Final = 200
DEI_DUPLICATES: Final = 10
"""On an operating leg: the flights that sell it under other numbers."""
DEI_OPERATED_AS: Final = 50
"""On a leg that only sells another: that other."""
DEI_CONFIGURATION: Final = 108
DEI_PRICE: Final = 990
"""Of those that partners use as they agree: the price of a seat, which SSIM has no column for. Ours, where it begins
with PRICE_MARK."""
PRICE_MARK: Final = "PRICE PER SEAT "

_CODE_SHARE: Final = frozenset("LZ")
"""Operating disclosure of a leg that another airline operates under its own number (S and X are leases: our seats)."""
_ONE_DAY: Final = timedelta(days=1)
_WEEK: Final = timedelta(days=7)
_FORESEEN: Final = timedelta(days=4 * 365)
"""How far an open-ended leg in UTC is followed through changes of the clocks."""

_DESIGNATOR: Final = re.compile(r"([A-Z0-9]{2}[A-Z]?) *([0-9]{1,4} *[A-Z]?)(?![A-Z0-9])", re.ASCII)


class Flight(NamedTuple):
    carrier: str
    number: str
    """With the operational suffix, without leading zeros."""


class Itinerary(NamedTuple):
    """When the first leg of an itinerary flies: what the later legs' date variations are counted from."""

    first: date
    last: date | None
    days: frozenset[int]


@dataclass(slots=True)
class Leg:
    """A record 3 and what the records 4 after it say."""

    line: int
    record: str
    data: dict[int, str] = field(default_factory=dict)
    """By DEI."""

    @property
    def key(self) -> str:
        """Columns 2 to 14 and 128: what a record 4 repeats to tell which leg it belongs to (128 is its 28)."""
        return self.record[1:14] + self.record[127]

    @property
    def flight(self) -> Flight:
        """Raises ValueError."""
        return Flight(clean_carrier(self.record[2:5]), clean_number(self.record[5:9] + self.record[1].strip()))

    @property
    def itinerary(self) -> tuple[Flight, str]:
        return self.flight, self.record[9:11] + self.record[127]

    @property
    def is_first(self) -> bool:
        return self.record[11:13].strip() in {"01", "1", "00", ""}

    @property
    def is_code_share(self) -> bool:
        return self.record[148] in _CODE_SHARE or DEI_OPERATED_AS in self.data

    @property
    def sold_also_as(self) -> set[Flight]:
        """The flights that sell this leg under other numbers."""
        found = _DESIGNATOR.findall(self.data.get(DEI_DUPLICATES, ""))
        return {Flight(carrier, clean_number(number.replace(" ", ""))) for carrier, number in found}


@dataclass(slots=True)
class _Times:
    """Minutes of the day, in the file's time mode; ``departs_on``: days after the date that a period counts;
    ``lands_after``: days from departure to arrival, None where the file leaves it to the reader."""

    departs: int
    arrives: int
    departs_on: int
    lands_after: int | None


def rows_of(leg: Leg, *, in_utc: bool, first_legs: Mapping[tuple[Flight, str], Itinerary]) -> list[ScheduleRow]:
    """The rows of one leg; ``first_legs`` of the itineraries read so far. Raises ValueError with the reason."""
    record, flight = leg.record, leg.flight
    origin, destination = clean_airport(record[36:39], "departure"), clean_airport(record[54:57], "arrival")
    check_route(origin, destination)
    period, times = period_of(leg), _times(record)
    if _counts_from_first_leg(leg, period, times, first_legs):
        times.departs_on += parse_date_variation(record[192], "departure") or 0
    named = _named_seats(leg)
    noted = leg.data.get(DEI_PRICE, "")
    price = noted.removeprefix(PRICE_MARK) if noted.startswith(PRICE_MARK) else ""
    row = ScheduleRow(
        line=leg.line,
        carrier=flight.carrier,
        flight_number=flight.number,
        origin=origin,
        destination=destination,
        departure_local=time(),
        arrival_local=time(),
        arrival_day_offset=0,
        days=period.days,
        valid_from=period.first,
        valid_to=period.last,
        seats=check_seats(named or DEFAULT_SEATS),
        price=clean_price(price, origin, destination),
        names_seats=named is not None,
        names_price=bool(price),
        fortnight_from=_fortnight(record[35], period),
    )
    rows = _from_utc(row, times) if in_utc else _from_local(row, times, record)
    flown = [one for one in rows if _ever_flies(one)]
    if not flown:
        raise ValueError("its period has none of its days of operation")
    return flown


def variations_differ(leg: Leg, row: ScheduleRow) -> bool:
    """Whether the record's UTC variations are other than those of the airports' zones on the row's first date."""
    day = row.valid_from or date(CENTURY, 1, 1)
    lands = day + _ONE_DAY * row.arrival_day_offset
    ends = (
        (leg.record[47:52], row.origin, day, row.departure_local),
        (leg.record[65:70], row.destination, lands, row.arrival_local),
    )
    return any(
        text.strip() and parse_variation(text) != utc_offset(zone(code), datetime.combine(on, at))
        for text, code, on, at in ends
    )


def period_of(leg: Leg) -> Itinerary:
    """Period and days as the record has them. Raises ValueError."""
    record = leg.record
    first, last = parse_date(record[14:21], "period from"), parse_date(record[21:28], "period to")
    if first is None:
        raise ValueError("the period has no first date")
    if last is not None and last < first:
        raise ValueError(f"the period ends on {last}, before it begins on {first}")
    return Itinerary(first, last, parse_days(record[28:35]))


def _fortnight(text: str, period: Itinerary) -> date | None:
    if text not in " 12":
        raise ValueError(f"frequency rate {text!r} is neither blank nor 2")
    return period.first if text == "2" else None


def _times(record: str) -> _Times:
    """Passengers' times; periods and date variations are those of the aircraft's, on the other side of midnight at
    times."""
    departs, on = _of_passengers(record[39:43], record[43:47], "time of departure")
    arrives, late = _of_passengers(record[61:65], record[57:61], "time of arrival")
    leaves = parse_date_variation(record[192], "departure") or 0
    lands = parse_date_variation(record[193], "arrival")
    return _Times(departs, arrives, on, None if lands is None else lands - leaves + late - on)


def _of_passengers(passengers: str, aircraft: str, what: str) -> tuple[int, int]:
    """Minutes of the day, below a whole day, and the days by which they are after the aircraft's date."""
    exact = parse_clock(aircraft.strip() or passengers, what)
    minutes = parse_clock(passengers.strip() or aircraft, what)
    shift = 1 if minutes - exact < -MINUTES // 2 else -1 if minutes - exact > MINUTES // 2 else 0
    return minutes % MINUTES, shift + minutes // MINUTES


def _counts_from_first_leg(
    leg: Leg, period: Itinerary, times: _Times, first_legs: Mapping[tuple[Flight, str], Itinerary]
) -> bool:
    """Whether the record's period is that of the itinerary's first leg, which the date variation then moves.

    The manual wants later legs' days adjusted, but files are written either way; an adjusted one is told by its being
    the first leg's, moved by just the variation.
    """
    shift = parse_date_variation(leg.record[192], "departure") or 0
    first = None if leg.is_first else first_legs.get(leg.itinerary)
    if not shift or first is None:
        return bool(shift)
    return period != Itinerary(
        first.first + _ONE_DAY * shift,
        None if first.last is None else first.last + _ONE_DAY * shift,
        _moved(first.days, shift),
    )


def _moved(days: frozenset[int], shift: int) -> frozenset[int]:
    return frozenset((day - 1 + shift) % 7 + 1 for day in days)


def _named_seats(leg: Leg) -> int | None:
    """From the configuration, else from the aircraft's type; None where neither tells."""
    text = leg.record[172:192].strip()
    if text.startswith("XX") and len(text) == 2:  # too long for its columns
        text = leg.data.get(DEI_CONFIGURATION, "")
    return seats_of_configuration(text) or seats_of_type(leg.record[72:75].strip().upper())


def _place(row: ScheduleRow, departs: int, arrives: int, shift: int, lands_after: int) -> ScheduleRow:
    """The row with its times set, in minutes that may be on other days, and moved by whole days."""
    shift += departs // MINUTES
    lands_after += arrives // MINUTES - departs // MINUTES
    if not MIN_DAY_OFFSET <= lands_after <= MAX_DAY_OFFSET:
        raise ValueError(f"it would arrive {lands_after} days after its departure, by the local calendars")
    move = _ONE_DAY * shift
    return replace(
        row,
        departure_local=_time(departs),
        arrival_local=_time(arrives),
        arrival_day_offset=lands_after,
        days=_moved(row.days, shift),
        valid_from=row.valid_from and row.valid_from + move,
        valid_to=row.valid_to and row.valid_to + move,
        fortnight_from=row.fortnight_from and row.fortnight_from + move,
    )


def _time(minutes: int) -> time:
    return time(minutes // 60 % 24, minutes % 60)


def _from_local(row: ScheduleRow, times: _Times, record: str) -> Iterator[ScheduleRow]:
    lands_after = times.lands_after
    if lands_after is None:
        assert row.valid_from is not None
        leaves, lands = (
            parse_variation(text)
            if (text := record[columns]).strip()
            else utc_offset(zone(code), _noon(row.valid_from))
            for columns, code in ((slice(47, 52), row.origin), (slice(65, 70), row.destination))
        )
        elapsed = times.arrives - times.departs - (lands - leaves) // timedelta(minutes=1)
        lands_after = next(
            (days for days in range(MIN_DAY_OFFSET, MAX_DAY_OFFSET) if elapsed + days * MINUTES > 0), MAX_DAY_OFFSET
        )
    yield _place(row, times.departs, times.arrives, times.departs_on, lands_after)


def _noon(day: date) -> datetime:
    return datetime.combine(day, time(12))


@dataclass(frozen=True, slots=True)
class _Clocks:
    """How far both airports' clocks are ahead of UTC, in minutes."""

    origin: int
    destination: int


def _from_utc(row: ScheduleRow, times: _Times) -> Iterator[ScheduleRow]:
    lands_after = times.lands_after
    if lands_after is None:
        lands_after = 0 if times.arrives > times.departs else 1

    def clocks(day: date) -> _Clocks:
        leaves = datetime.combine(day, time(), UTC) + timedelta(days=times.departs_on, minutes=times.departs)
        lands = leaves + timedelta(days=lands_after, minutes=times.arrives - times.departs)
        return _Clocks(_ahead(row.origin, leaves), _ahead(row.destination, lands))

    assert row.valid_from is not None
    for first, last, ahead in _stretches(row.valid_from, row.valid_to, clocks):
        departs, arrives = times.departs + ahead.origin, times.arrives + ahead.destination
        part = replace(row, valid_from=first, valid_to=last)
        yield _place(part, departs, arrives, times.departs_on, lands_after)


@lru_cache(maxsize=65_536)
def _ahead(code: str, instant: datetime) -> int:
    offset = instant.astimezone(zone(code)).utcoffset()
    assert offset is not None
    return offset // timedelta(minutes=1)


def _stretches(
    first: date, last: date | None, clocks: Callable[[date], _Clocks]
) -> Iterator[tuple[date, date | None, _Clocks]]:
    """The dates from first to last, cut where the clocks change. No zone changes them twice within a week."""
    end = last or first + _FORESEEN
    start, ahead = first, clocks(first)
    day = first
    while day < end:
        following = min(day + _WEEK, end)
        if clocks(following) != ahead:
            while clocks(day + _ONE_DAY) == ahead:
                day += _ONE_DAY
            yield start, day, ahead
            following = start = day + _ONE_DAY
            ahead = clocks(start)
        day = following
    yield start, last, ahead


def _ever_flies(row: ScheduleRow) -> bool:
    if row.valid_from is None or row.valid_to is None or row.valid_to - row.valid_from >= _WEEK * 2:
        return True
    span = (row.valid_to - row.valid_from).days
    return any(row.flies_on(row.valid_from + timedelta(days=ahead)) for ahead in range(span + 1))
