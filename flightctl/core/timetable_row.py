"""One row of a schedule: what it holds, which values it may have, and what its price is when it names none.

Readers of every format build ``ScheduleRow`` and pass it through ``Accepted``, so that a bad row is refused for the
same reasons wherever it comes from. The functions here raise ``ValueError`` with a one-line reason; readers turn it
into a ``RejectedRow``, ``build_flight`` into a ``ValidationError``.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from flightctl.core.aircraft import AIRCRAFT_SEATS
from flightctl.core.network import distance_km, find_airport, zone

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

DEFAULT_SEATS: Final = 180
"""Of a row that does not say (SPEC, schedule files)."""
MAX_SEATS: Final = 999
"""No airliner has more than 853; more is a slip of the keyboard."""
MAX_PRICE: Final = Decimal("9999999.99")
MAX_FLIGHT_TIME: Final = timedelta(hours=48)
MAX_REASON: Final = 200
"""Characters: a reason quotes the value, and a value may be a whole book."""
MIN_DAY_OFFSET: Final = -1
MAX_DAY_OFFSET: Final = 2

FARE_BASE: Final = Decimal(1500)
"""Of every flight without a price, in currency units a seat: what the ground costs however short it is."""
FARE_PER_KM: Final = Decimal("3.25")
"""Added a kilometre of great circle. Delhi to Mumbai (1,138 km) comes to 5199, a usual fare in rupees."""

NORMAL_YEAR: Final = 2026
"""Whose offsets tell the usual flight time of a row without validity."""

_CARRIER = re.compile(r"(?=.*[A-Z])[A-Z0-9]{2}[A-Z]?", re.ASCII)
_NUMBER = re.compile(r"([0-9]{1,4})([A-Z]?)", re.ASCII)
_PRICE = re.compile(r"[0-9]+(?:\.[0-9]{1,2})?", re.ASCII)
_LONG_FRACTION = re.compile(r"[0-9]*\.[0-9]{3,}", re.ASCII)


@dataclass(frozen=True, slots=True)
class ScheduleRow:
    """A flight that repeats. ``line`` is its place in the file, from 1; times are local at each airport.

    ``days`` are ISO weekdays (1 = Monday) at the origin; ``valid_from`` and ``valid_to`` are inclusive local dates at
    the origin, None where open; ``price`` is per seat.
    """

    line: int
    carrier: str
    flight_number: str
    origin: str
    destination: str
    departure_local: time
    arrival_local: time
    arrival_day_offset: int
    days: frozenset[int]
    valid_from: date | None
    valid_to: date | None
    seats: int
    price: Decimal
    names_seats: bool = True
    """Whether the file says the seats, and below the price; where not, they stand for a flight that is new."""
    names_price: bool = True
    fortnight_from: date | None = None
    """A date of the first of every two weeks in which it flies; None: it flies every week."""

    def flies_on(self, day: date) -> bool:
        """Whether it departs on that local date."""
        return (
            day.isoweekday() in self.days
            and (self.valid_from is None or self.valid_from <= day)
            and (self.valid_to is None or day <= self.valid_to)
            and in_fortnight(self.fortnight_from, day)
        )


def in_fortnight(first: date | None, day: date) -> bool:
    """Whether the day is in one of every second week, counted in sevens of days from ``first``; True for None."""
    return first is None or (day - first).days // 7 % 2 == 0


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """``flight`` is its carrier and number where these could be read: what the file says of it is not known."""

    line: int
    reason: str
    flight: str = ""


@dataclass(frozen=True, slots=True)
class Schedule:
    rows: tuple[ScheduleRow, ...]
    rejected: tuple[RejectedRow, ...]
    airports: frozenset[str]
    """Codes of the airports that the good rows fly to or from."""
    codeshares: int = 0
    """Legs that were left out because they are another flight's under a second number."""
    notes: tuple[str, ...] = ()
    """What a reader found odd without refusing it."""


def shorten(reason: str) -> str:
    return reason if len(reason) <= MAX_REASON else reason[: MAX_REASON - 1] + "…"


def clean_carrier(text: str) -> str:
    """An airline designator in upper case.

    A third character must be a letter: otherwise carrier and number could not be told apart in a flight id.
    """
    carrier = text.strip().upper()
    if not _CARRIER.fullmatch(carrier):
        raise ValueError(f"carrier {text!r} is not an airline code of 2 or 3 letters and digits")
    return carrier


def clean_number(text: str) -> str:
    """A flight number of 1 to 4 digits and perhaps a letter, without leading zeros."""
    match = _NUMBER.fullmatch(text.strip().upper())
    if not match or not int(match[1]):
        raise ValueError(f"flight number {text!r} is not 1 to 4 digits")
    return f"{int(match[1])}{match[2]}"


def clean_airport(text: str, role: str) -> str:
    """The IATA code of a known airport. ``role`` names the column in the reason."""
    found = find_airport(text)
    if found is None:
        raise ValueError(f"unknown {role} airport {text!r}")
    return found.iata


def clean_seats(text: str) -> int:
    """Seats from a number, an IATA aircraft type or nothing.

    Digits alone are always a number of seats, also those that name a type elsewhere (320).
    """
    value = text.strip().upper()
    if not value:
        return DEFAULT_SEATS
    if value in AIRCRAFT_SEATS:
        return AIRCRAFT_SEATS[value]
    if not re.fullmatch(r"[+-]?[0-9]{1,9}", value, re.ASCII):
        raise ValueError(f"{text!r} is neither a number of seats nor a known aircraft type")
    return check_seats(int(value))


def check_seats(seats: int) -> int:
    if not 1 <= seats <= MAX_SEATS:
        raise ValueError(f"seats must be 1 to {MAX_SEATS}, not {seats}")
    return seats


def clean_price(text: str, origin: str, destination: str) -> Decimal:
    """Price per seat with two places; from the distance when there is none."""
    value = text.strip()
    if not value:
        return default_fare(origin, destination)
    if value.startswith("-"):
        raise ValueError(f"price {text!r} is negative")
    if not _PRICE.fullmatch(value):
        excess = _LONG_FRACTION.fullmatch(value)
        raise ValueError(f"price {text!r} " + ("has more than two decimals" if excess else "is not an amount"))
    return check_price(Decimal(value))


def check_price(price: Decimal) -> Decimal:
    if not price.is_finite() or price < 0:
        raise ValueError(f"price {price} is not an amount of zero or more")
    if price > MAX_PRICE:
        raise ValueError(f"price {price} is more than {MAX_PRICE}")
    exact = price.quantize(Decimal("0.01"))
    if exact != price:
        raise ValueError(f"price {price} has more than two decimals")
    return exact


@lru_cache(maxsize=65_536)  # city pairs; the world has 54,000 with flights
def default_fare(origin: str, destination: str) -> Decimal:
    """FARE_BASE + FARE_PER_KM for each kilometre of great circle, to whole units, as a Decimal with two places."""
    # Rounding the kilometres first keeps the fare from hanging on the last bits of a float.
    kilometres = Decimal(round(distance_km(origin, destination)))
    return (FARE_BASE + FARE_PER_KM * kilometres).quantize(Decimal(1)).quantize(Decimal("0.01"))


def utc_offset(tz: "ZoneInfo", local: datetime) -> timedelta:
    """Offset of a naive local time: the first of two where clocks go back, the old one in the hour that is skipped.

    The old offset moves a skipped time forward by the gap: 02:30 becomes 03:30 (PEP 495, fold=0).
    """
    offset = local.replace(tzinfo=tz).utcoffset()
    if offset is None:  # no ZoneInfo does this, but the type allows it
        raise ValueError(f"no offset for {local} in {tz}")
    return offset


def flight_time(row: ScheduleRow, on: date) -> timedelta:
    """Time from departure to arrival when the row flies on that local date; zero or less across some clock changes."""
    departure = datetime.combine(on, row.departure_local)
    arrival = datetime.combine(on + timedelta(days=row.arrival_day_offset), row.arrival_local)
    change = utc_offset(zone(row.destination), arrival) - utc_offset(zone(row.origin), departure)
    return arrival - departure - change


def normal_flight_time(row: ScheduleRow) -> timedelta:
    """Flight time on an ordinary date of the row's validity, more than zero and at most MAX_FLIGHT_TIME.

    Raises ValueError when there is no such date. January and July stand for the two halves of the year, since a row
    may make sense in one of them only.
    """
    too_long = False
    for on in _ordinary_dates(row):
        elapsed = flight_time(row, on)
        if timedelta() < elapsed <= MAX_FLIGHT_TIME:
            return elapsed
        too_long = too_long or elapsed > MAX_FLIGHT_TIME
    if too_long:
        raise ValueError(f"it would fly for more than {MAX_FLIGHT_TIME // timedelta(hours=1)} hours")
    raise ValueError("it would arrive before or when it departs (see arrival_day_offset)")


def _ordinary_dates(row: ScheduleRow) -> Iterator[date]:
    known = row.valid_from or row.valid_to
    year = known.year if known else NORMAL_YEAR
    for on in (date(year, 1, 15), date(year, 7, 15)):
        if (row.valid_from is None or row.valid_from <= on) and (row.valid_to is None or on <= row.valid_to):
            yield on
    if row.valid_from and row.valid_to:  # the middle first: clocks seldom change there
        yield row.valid_from + (row.valid_to - row.valid_from) // 2
    if known:
        yield known


@dataclass(slots=True)
class Accepted:
    """Takes rows one by one and refuses those that contradict themselves or repeat an earlier one."""

    rows: list[ScheduleRow] = field(default_factory=list)
    _by_number: dict[tuple[str, str, str], list[ScheduleRow]] = field(default_factory=dict)

    def add(self, *rows: ScheduleRow) -> None:
        """Take all the rows (of one record) or none. Raises ValueError with the reason when one cannot be flown."""
        for row in rows:
            self._check(row)
        for row in rows:
            self._by_number.setdefault((row.carrier, row.flight_number, row.origin), []).append(row)
            self.rows.append(row)

    def _check(self, row: ScheduleRow) -> None:
        check_route(row.origin, row.destination)
        if row.valid_from and row.valid_to and row.valid_from > row.valid_to:
            raise ValueError(f"valid_from {row.valid_from} is after valid_to {row.valid_to}")
        try:
            normal_flight_time(row)
        except OverflowError:  # the year 9999 has no day after it
            raise ValueError("its validity is out of range") from None
        for earlier in self._by_number.get((row.carrier, row.flight_number, row.origin), ()):
            if overlap(earlier, row):
                name = f"{row.carrier}{row.flight_number} from {row.origin}"
                raise ValueError(f"repeats line {earlier.line}: {name} on some of the same days")

    def schedule(self, rejected: list[RejectedRow], *, codeshares: int = 0, notes: tuple[str, ...] = ()) -> Schedule:
        airports = frozenset(code for row in self.rows for code in (row.origin, row.destination))
        return Schedule(tuple(self.rows), tuple(rejected), airports, codeshares, notes)


def check_route(origin: str, destination: str) -> None:
    if origin == destination:
        raise ValueError(f"origin and destination are both {origin}")


def overlap(one: ScheduleRow, two: ScheduleRow) -> bool:
    """Whether there is a date on which both fly, or may fly where validity is open."""
    if one.days.isdisjoint(two.days):
        return False
    start = max((row.valid_from for row in (one, two) if row.valid_from), default=None)
    end = min((row.valid_to for row in (one, two) if row.valid_to), default=None)
    # Weekdays and fortnights repeat after two weeks, so those at either end of what both cover tell it.
    if start is not None:
        days = [start + timedelta(days=n) for n in range(14)]
    elif end is not None:
        days = [end - timedelta(days=n) for n in range(14)]
    else:
        return True
    return any(one.flies_on(day) and two.flies_on(day) for day in days)
