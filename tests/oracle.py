"""What a search has to answer, by trying everything: nested loops over all flights, written from the specification.

Slow on purpose, and shares no code with ``flightctl.core.routing``. Flights are any objects with ``flight_id, source,
destination, departure_time, arrival_time`` (aware UTC datetimes), ``departure_date`` (local date at the origin),
``available_seats, price`` (Decimal) and ``status``.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from typing import Any, Protocol, TypeVar


class FlightLike(Protocol):
    flight_id: str
    source: str
    destination: str
    departure_time: datetime
    arrival_time: datetime
    departure_date: date
    available_seats: int
    price: Decimal
    status: str


F = TypeVar("F", bound=FlightLike)

HOUR = timedelta(hours=1)


def search(
    flights: Iterable[F],
    source: str,
    destination: str,
    day: date,
    *,
    now: datetime,
    seats: int = 1,
    max_hops: int = 3,
    sort: str = "price",
    desc: bool = False,
    min_connection: timedelta = HOUR,
    max_connection: timedelta = 6 * HOUR,
    filters: Mapping[str, Any] | None = None,
) -> list[tuple[F, ...]]:
    """All valid itineraries in order; a page is a slice of it, ``totalElements`` its length. ``filters`` as ``passes``
    has them."""
    usable = [f for f in flights if f.status == "ACTIVE" and f.departure_time > now and f.available_seats >= seats]
    valid = valid_itineraries(usable, source, destination, day, min_connection, max_connection)
    return ordered([legs for legs in valid if len(legs) <= max_hops and passes(legs, **filters or {})], sort, desc)


def passes(
    legs: Sequence[FlightLike],
    *,
    via: Collection[str] = (),
    avoid: Collection[str] = (),
    carriers: Collection[str] = (),
    max_price: Decimal | None = None,
    max_duration: timedelta | None = None,
    depart_between: tuple[time, time] | None = None,
    zone: tzinfo = UTC,
) -> bool:
    """Whether an itinerary is what the filters ask for. ``zone``: of the origin, whose clocks show hours and minutes."""
    stops = [leg.destination for leg in legs[:-1]]
    if any(stop not in stops for stop in via) or any(stop in avoid for stop in stops):
        return False
    if carriers and not all(re.match("(?:" + "|".join(carriers) + ")[0-9]", leg.flight_id) for leg in legs):
        return False
    if max_price is not None and price(legs) > max_price:
        return False
    if max_duration is not None and timedelta(minutes=duration_minutes(legs)) > max_duration:
        return False
    if depart_between is None:
        return True
    first, last = depart_between
    shown = legs[0].departure_time.astimezone(zone).time().replace(second=0, microsecond=0)
    return first <= shown <= last if first <= last else shown >= first or shown <= last


def valid_itineraries(
    usable: Sequence[F],
    source: str,
    destination: str,
    day: date,
    min_connection: timedelta = HOUR,
    max_connection: timedelta = 6 * HOUR,
) -> list[tuple[F, ...]]:
    """Every itinerary of one to three legs over flights that are all usable, in no order."""
    found: list[tuple[F, ...]] = []
    leaving: dict[str, list[F]] = {}
    for flight in usable:
        leaving.setdefault(flight.source, []).append(flight)

    def connects(before: F, after: F) -> bool:
        wait = after.departure_time - before.arrival_time
        return before.destination == after.source and min_connection <= wait <= max_connection

    def consider(legs: tuple[F, ...]) -> None:
        visited = [legs[0].source] + [leg.destination for leg in legs]
        if legs[-1].destination == destination and len(set(visited)) == len(visited):
            found.append(legs)

    for first in leaving.get(source, ()):
        if first.departure_date != day:
            continue
        consider((first,))
        for second in leaving.get(first.destination, ()):
            if not connects(first, second):
                continue
            consider((first, second))
            for third in leaving.get(second.destination, ()):
                if connects(second, third):
                    consider((first, second, third))
    return found


def identifier(legs: Sequence[FlightLike]) -> str:
    if len(legs) == 1:
        return legs[0].flight_id
    return "CF_" + legs[0].source + "_" + legs[-1].destination + "".join("_" + leg.flight_id for leg in legs)


def price(legs: Sequence[FlightLike]) -> Decimal:
    """Per seat."""
    return sum((leg.price for leg in legs), Decimal(0))


def duration_minutes(legs: Sequence[FlightLike]) -> int:
    """Whole minutes from the first departure to the last arrival."""
    return (legs[-1].arrival_time - legs[0].departure_time) // timedelta(minutes=1)


def ordered(found: Iterable[tuple[F, ...]], sort: str, desc: bool) -> list[tuple[F, ...]]:
    """By the sort key (which alone ``desc`` reverses), then price, duration, departure, identifier."""
    keys = {"price": price, "duration": duration_minutes, "departure": lambda legs: legs[0].departure_time}
    result = sorted(
        found, key=lambda legs: (price(legs), duration_minutes(legs), legs[0].departure_time, identifier(legs))
    )
    # Stable in both directions: equal keys keep the order from above.
    result.sort(key=keys[sort], reverse=desc)
    return result
