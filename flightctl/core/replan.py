"""Making a re-accommodation plan: for each disrupted booking the itineraries that bring it there soonest.

The bookings are planned one after the other, the largest parties first, each as if those before it had taken their
first choice; so the plan does not promise the same seats twice. A party stays together. An itinerary is judged by how
much later than the booking's own it arrives; an earlier one by as much.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from itertools import islice
from typing import Any, Final

from sqlalchemy import select

from flightctl.core import disruption, records, schedule
from flightctl.core.database import Transaction
from flightctl.core.loading import load
from flightctl.core.model.itineraries import itinerary_identifier
from flightctl.core.model.states import FlightStatus, FlightType
from flightctl.core.plan_file import Alternative, Plan, PlannedBooking
from flightctl.core.routing import Timetable, to_instant, to_microseconds
from flightctl.core.runtime import Runtime
from flightctl.core.schema import bookings, flights

CHOICES: Final = 5
"""Alternatives a booking: some may be sold by the time the plan is applied."""
DAYS: Final = 2
"""Local days at the origin that are looked at: the booking's own, and the next."""

_Route = tuple[int, ...]
"""Positions of its flights in the timetable."""


def make_plan(runtime: Runtime, flight_id: str) -> Plan:
    """The plan for the disrupted bookings of one flight."""
    minimum, maximum = (round(runtime.settings[f"search.{name}_connection"] * 1e6) for name in ("min", "max"))
    return runtime.database.read(lambda tx: _Planner(tx, minimum, maximum).plan(flight_id), snapshot=True)


class _Planner:
    """One plan in the making, on one consistent snapshot."""

    def __init__(self, tx: Transaction, minimum: int, maximum: int) -> None:
        self._tx = tx
        self._bounds = minimum, maximum
        self._left: dict[str, int] = {}
        """Seats that are left on each ACTIVE flight seen so far."""
        self._routes: dict[tuple[str, str, date], list[tuple[Timetable, _Route]]] = {}
        self._rankings: dict[tuple[str, str, date, int], list[tuple[Timetable, _Route]]] = {}
        self._now = schedule.database_now(tx)

    def plan(self, flight_id: str) -> Plan:
        waiting = [one.booking_id for one in disruption.disrupted(self._tx, flight_id)]
        rows = self._tx.execute(select(bookings).where(bookings.c.booking_id.in_(waiting))).all()
        rows = sorted(rows, key=lambda row: (-row.seats, row.created_at, row.booking_id))
        legs = records.legs_of(self._tx, waiting)
        return Plan(flight_id, self._now, tuple(self._booking(row, legs[row.booking_id]) for row in rows))

    def _booking(self, row: Any, flight_ids: Sequence[str]) -> PlannedBooking:
        found = {
            leg.flight_id: leg
            for leg in self._tx.execute(select(flights).where(flights.c.flight_id.in_(list(flight_ids))))
        }
        own = [found[flight_id] for flight_id in flight_ids]
        for leg in own:
            if leg.status == FlightStatus.ACTIVE.value:
                self._left.setdefault(leg.flight_id, leg.available_seats)
        begun = any(leg.departure_time <= self._now and leg.status == FlightStatus.ACTIVE.value for leg in own)
        chosen = [] if begun else list(islice(self._alternatives(row, own), CHOICES))
        if chosen:
            self._count(chosen[0], own, row.seats)
        return PlannedBooking(
            booking_id=row.booking_id,
            alternatives=tuple(chosen),
            user_id=row.user_id,
            seats=row.seats,
            flight_identifier=row.flight_identifier,
            arrival_time=own[-1].arrival_time,
        )

    def _count(self, choice: Alternative, own: Sequence[Any], seats: int) -> None:
        """As if the booking had moved already."""
        before = {leg.flight_id for leg in own}
        for flight_id in choice.flight_ids:
            if flight_id not in before:
                self._left[flight_id] -= seats
        for flight_id in before.difference(choice.flight_ids):
            if flight_id in self._left:
                self._left[flight_id] += seats

    def _alternatives(self, row: Any, own: Sequence[Any]) -> Iterator[Alternative]:
        first, last = own[0], own[-1]
        due = to_microseconds(last.arrival_time)
        mine = {leg.flight_id for leg in own}
        for timetable, route in self._ranked(first.source, last.destination, first.departure_date, due):
            ids = tuple(timetable.ids[leg] for leg in route)
            left = min((self._left[flight_id] for flight_id in ids if flight_id not in mine), default=row.seats)
            if left >= row.seats and mine != set(ids):
                yield self._alternative(timetable, route, ids, due, left)

    def _alternative(
        self, timetable: Timetable, route: _Route, ids: tuple[str, ...], due: int, left: int
    ) -> Alternative:
        lands = timetable.arrivals[route[-1]]
        return Alternative(
            flight_identifier=itinerary_identifier(ids, timetable.source, timetable.destination),
            flight_type=FlightType.DIRECT if len(ids) == 1 else FlightType.COMPUTED,
            flight_ids=ids,
            departure_time=to_instant(timetable.departures[route[0]]),
            arrival_time=to_instant(lands),
            delay_minutes=(lands - due) // 60_000_000,
            available_seats=left,
        )

    def _ranked(self, source: str, destination: str, day: date, due: int) -> list[tuple[Timetable, _Route]]:
        """The routes of the days looked at, best first; most bookings of a flight ask the same."""
        key = (source, destination, day, due)
        if key not in self._rankings:
            routes = [
                found
                for offset in range(DAYS)
                for found in self._of_day(source, destination, day + timedelta(days=offset))
            ]
            routes.sort(key=lambda found: _rank(found[0], found[1], due))
            self._rankings[key] = routes
        return self._rankings[key]

    def _of_day(self, source: str, destination: str, day: date) -> list[tuple[Timetable, _Route]]:
        key = (source, destination, day)
        if key not in self._routes:
            minimum, maximum = self._bounds
            loaded = load(self._tx, source, destination, day, min_connection=minimum, max_connection=maximum)
            timetable = loaded.timetable
            for flight_id, count in loaded.counts.items():
                self._left.setdefault(flight_id, count.seats)
            self._routes[key] = [(timetable, route) for route in _routes(timetable, self._now, minimum, maximum)]
        return self._routes[key]


def _rank(timetable: Timetable, route: _Route, due: int) -> tuple[int, int, int, str]:
    """Least delay first, then fewest legs, the latest departure, and the id."""
    late = abs(timetable.arrivals[route[-1]] - due)
    return late, len(route), -timetable.departures[route[0]], timetable.ids[route[0]]


def _routes(timetable: Timetable, now: datetime, minimum: int, maximum: int) -> Iterator[_Route]:
    """Every itinerary of the timetable that is still to depart, whatever its seats."""
    onward: defaultdict[str, list[int]] = defaultdict(list)
    for leg in range(timetable.first_count, len(timetable)):
        onward[timetable.sources[leg]].append(leg)
    soonest = to_microseconds(now)

    def after(route: _Route) -> Iterator[_Route]:
        last = route[-1]
        if timetable.destinations[last] == timetable.destination:
            yield route
            return
        visited = {timetable.sources[leg] for leg in route}
        for leg in onward[timetable.destinations[last]] if len(route) < 3 else ():
            wait = timetable.departures[leg] - timetable.arrivals[last]
            if minimum <= wait <= maximum and timetable.destinations[leg] not in visited:
                yield from after((*route, leg))

    for leg in range(timetable.first_count):
        if timetable.departures[leg] > soonest:
            yield from after((leg,))
