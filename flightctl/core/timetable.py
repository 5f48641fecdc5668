"""Schedules into flights: what departs on which date, when in UTC, under which id. Pure: no database, no clock.

A flight id is ``<carrier><number>-<YYYYMMDD>`` with the local date of departure, and ``-<ORIGIN>`` after it for every
leg of a number that flies several legs on that date. It hangs on the schedule and the date only, never on the range
asked for, so that loading a schedule again finds the flights that are there.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Final

from flightctl.core.errors import ValidationError
from flightctl.core.network import airport, zone
from flightctl.core.timetable_file import read_schedule
from flightctl.core.timetable_row import (
    DEFAULT_SEATS,
    MAX_FLIGHT_TIME,
    RejectedRow,
    Schedule,
    ScheduleRow,
    check_price,
    check_route,
    check_seats,
    clean_carrier,
    clean_number,
    default_fare,
    in_fortnight,
    normal_flight_time,
    utc_offset,
)

__all__ = [
    "RejectedRow",
    "Schedule",
    "ScheduleRow",
    "ScheduledFlight",
    "build_flight",
    "default_fare",
    "expand",
    "read_schedule",
]

MIDNIGHT: Final = time()
ONE_DAY: Final = timedelta(days=1)
EARLIEST: Final = date(1900, 1, 1)
LATEST: Final = date(9999, 1, 1)
"""Nobody sells seats beyond these, and arithmetic near the ends of the calendar overflows."""

_FLIGHT: Final = re.compile(
    r"(?P<carrier>[A-Z0-9]{2}[A-Z]?)(?P<number>[0-9]{1,4}[A-Z]?)(?:-(?P<date>[0-9]{8})(?:-(?P<origin>[A-Z]{3}))?)?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class ScheduledFlight:
    """One departure. Instants are aware UTC; ``departure_date`` is the local date at the source; price per seat."""

    flight_id: str
    carrier: str
    flight_number: str
    source: str
    destination: str
    departure_time: datetime
    arrival_time: datetime
    departure_date: date
    seats: int
    price: Decimal
    names_seats: bool = True
    """Whether the schedule says them itself, and below the price."""
    names_price: bool = True


class _Offsets:
    """UTC offsets by airport and local date, looked up once for each date on which the clocks do not change."""

    def __init__(self) -> None:
        self._by_day: dict[tuple[str, date], timedelta | None] = {}

    def at(self, code: str, day: date, at: time) -> timedelta:
        key = (code, day)
        try:
            offset = self._by_day[key]
        except KeyError:
            offset = self._by_day[key] = self._of_day(code, day)
        return utc_offset(zone(code), datetime.combine(day, at)) if offset is None else offset

    @staticmethod
    def _of_day(code: str, day: date) -> timedelta | None:
        """None when the offset at both ends of the day differs, and every time must be asked for by itself."""
        start = datetime.combine(day, MIDNIGHT)
        offset = utc_offset(zone(code), start)
        return offset if offset == utc_offset(zone(code), start + ONE_DAY) else None


def expand(schedule: Schedule, start: date, days: int) -> Iterator[ScheduledFlight]:
    """Every flight of the schedule that departs on ``start`` or the ``days - 1`` local dates after it.

    By date, then in the order of the rows. Local times that the clocks skip are moved forward by the gap; of those
    that come twice the first is meant. A flight that would arrive before it departs, because clocks differ on that
    date from what the schedule was made for, arrives after its normal flight time instead. Raises ValidationError for
    dates outside EARLIEST to LATEST.
    """
    if start < EARLIEST or days > (LATEST - start).days:
        raise ValidationError(f"{days} days from {start} are out of range")
    offsets = _Offsets()
    by_weekday = [[row for row in schedule.rows if weekday in row.days] for weekday in range(1, 8)]
    for day in (start + timedelta(days=ahead) for ahead in range(days)):
        flying = [
            row
            for row in by_weekday[day.weekday()]
            if (row.valid_from is None or row.valid_from <= day)
            and (row.valid_to is None or day <= row.valid_to)
            and (row.fortnight_from is None or in_fortnight(row.fortnight_from, day))
        ]
        legs = Counter((row.carrier, row.flight_number) for row in flying)
        stamp = f"-{day:%Y%m%d}"
        for row in flying:
            flight_id = row.carrier + row.flight_number + stamp
            if legs[row.carrier, row.flight_number] > 1:
                flight_id += "-" + row.origin
            yield _flight(row, day, flight_id, offsets)


def _flight(row: ScheduleRow, day: date, flight_id: str, offsets: _Offsets) -> ScheduledFlight:
    departs = row.departure_local
    departure = datetime.combine(day, departs, UTC) - offsets.at(row.origin, day, departs)
    arrives, lands = row.arrival_local, day + ONE_DAY * row.arrival_day_offset if row.arrival_day_offset else day
    arrival = datetime.combine(lands, arrives, UTC) - offsets.at(row.destination, lands, arrives)
    if arrival <= departure:
        arrival = departure + normal_flight_time(row)
    return ScheduledFlight(
        flight_id,
        row.carrier,
        row.flight_number,
        row.origin,
        row.destination,
        departure,
        arrival,
        day,
        row.seats,
        row.price,
        row.names_seats,
        row.names_price,
    )


def build_flight(
    flight_number_or_id: str,
    source: str,
    destination: str,
    departure_local: datetime,
    arrival_local: datetime,
    seats: int = DEFAULT_SEATS,
    price: Decimal | None = None,
) -> ScheduledFlight:
    """One flight outside every schedule. Times are naive, local at each airport; price per seat, None = by distance.

    ``flight_number_or_id`` is a number (``6E203``; the id gets the date of departure) or a whole id, whose date and
    origin must be those of the flight. Raises ValidationError and UnknownAirportError.
    """
    origin, target = airport(source).iata, airport(destination).iata
    if departure_local.tzinfo is not None or arrival_local.tzinfo is not None:
        raise ValidationError("departure and arrival are local times without an offset")
    departure, arrival = _instant(origin, departure_local), _instant(target, arrival_local)
    try:
        check_route(origin, target)
        carrier, number, flight_id = _identify(flight_number_or_id, origin, departure_local.date())
        check_seats(seats)
        fare = default_fare(origin, target) if price is None else check_price(price)
        if arrival <= departure:
            raise ValueError(f"{flight_id} would arrive before or when it departs")
        if arrival - departure > MAX_FLIGHT_TIME:
            raise ValueError(f"{flight_id} would fly for more than {MAX_FLIGHT_TIME // timedelta(hours=1)} hours")
    except ValueError as bad:
        raise ValidationError(str(bad)) from None
    return ScheduledFlight(
        flight_id, carrier, number, origin, target, departure, arrival, departure_local.date(), seats, fare
    )


def _instant(code: str, local: datetime) -> datetime:
    try:
        return local.replace(tzinfo=UTC) - utc_offset(zone(code), local)
    except OverflowError:
        raise ValidationError(f"{local:%Y-%m-%d} is out of range") from None


def _identify(text: str, origin: str, day: date) -> tuple[str, str, str]:
    """Carrier, number and id, or ValueError."""
    match = _FLIGHT.fullmatch(text.strip().upper())
    if not match:
        raise ValueError(f"flight {text!r} is not a number such as 6E203 or an id such as 6E203-20261201")
    carrier, number = clean_carrier(match["carrier"]), clean_number(match["number"])
    stamp = f"{day:%Y%m%d}"
    if match["date"] not in (None, stamp):
        raise ValueError(f"flight {text!r} names another date than its departure, {stamp}")
    if match["origin"] not in (None, origin):
        raise ValueError(f"flight {text!r} names another origin than {origin}")
    flight_id = f"{carrier}{number}-{stamp}" + (f"-{origin}" if match["origin"] else "")
    return carrier, number, flight_id
