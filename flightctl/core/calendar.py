"""The fare calendar: the lowest price of each day around a date, from one look at the caches."""

from collections.abc import Sequence
from datetime import date
from typing import Final

from flightctl.core.errors import ValidationError
from flightctl.core.model.fares import FareCalendar, FareDay
from flightctl.core.model.itineraries import SearchRequest
from flightctl.core.network import zone
from flightctl.core.routing import Query, to_microseconds
from flightctl.core.routing_query import find
from flightctl.core.runtime import Runtime
from flightctl.core.search import itineraries, now, query_of, redis_state, resolve_day, understood
from flightctl.core.search_store import Asked, seat_counts, timetables
from flightctl.core.search_trace import SearchTrace

MAX_FLEX: Final = 7
"""Days to each side: two weeks fill a screen."""


def calendar(runtime: Runtime, request: SearchRequest, flex: int) -> FareCalendar:
    """Each day from ``flex`` before the request's date to ``flex`` after it, with its cheapest itinerary (among equals
    the first of a search by price) and the number of all.

    Raises UnknownAirportError, ValidationError, and DatabaseUnavailableError when Redis cannot answer alone.
    """
    if not 1 <= flex <= MAX_FLEX:
        raise ValidationError(f"--flex takes 1 to {MAX_FLEX} days, not {flex}")
    plain = SearchRequest("", "", "")
    if any(getattr(request, name) != getattr(plain, name) for name in ("sort", "descending", "page", "size")):
        raise ValidationError(
            "--flex shows the lowest price of each day; it is neither sorted nor paged",
            hint="Leave out --sort, --desc, --page and --size.",
        )
    source, destination, filters = understood(runtime, request)
    trace = SearchTrace()
    at = now(runtime)
    middle = resolve_day(request.date, lambda: at, source, "--date")
    days = _around(middle, flex)
    today = at.astimezone(zone(source)).date()
    coming = [day for day in days if day >= today]
    asked = timetables(runtime, source, destination, coming, trace) if coming else []
    counts = seat_counts(runtime, asked, trace) if asked else {}
    query = query_of(runtime.settings, request, filters, to_microseconds(at))._replace(size=1)
    with trace.timing("routing"):
        found = {day: _fare(day, one, counts, query) for day, one in zip(coming, asked, strict=True)}
    trace.flights = len({flight_id for one in asked for flight_id in one.timetable.ids})
    trace.redis = redis_state(runtime)
    content = tuple(found.get(day) or FareDay(day, None, 0) for day in days)
    return FareCalendar(source, destination, request.seats, middle, content, trace)


def _around(middle: date, flex: int) -> Sequence[date]:
    """Fewer at the ends of the calendar."""
    first, last = date.min.toordinal(), date.max.toordinal()
    ordinals = range(max(first, middle.toordinal() - flex), min(last, middle.toordinal() + flex) + 1)
    return [date.fromordinal(ordinal) for ordinal in ordinals]


def _fare(day: date, asked: Asked, counts: dict[str, int], query: Query) -> FareDay:
    available = [counts.get(flight_id, 0) for flight_id in asked.timetable.ids]
    total, page = find(asked.timetable, available, query._replace(now=asked.now))
    cheapest = next(iter(itineraries(asked.timetable, page, available)), None)
    return FareDay(day, cheapest, total)
