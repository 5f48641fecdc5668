"""The search use case: routes from Redis or the database, fresh seat counts, one exact page.

Nothing here needs SQLAlchemy when Redis knows everything: what the database must be asked for is imported then.
"""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Final, cast

from flightctl.core.errors import ValidationError
from flightctl.core.model.itineraries import (
    Itinerary,
    ItineraryLeg,
    SearchFilters,
    SearchRequest,
    SearchResult,
    itinerary_identifier,
)
from flightctl.core.model.states import FlightType
from flightctl.core.network import airport, zone
from flightctl.core.routing import MAX_LEGS, Filters, Query, SortKey, Timetable, to_instant
from flightctl.core.routing_query import find
from flightctl.core.runtime import Runtime
from flightctl.core.search_store import seat_counts, timetables
from flightctl.core.search_trace import SearchTrace
from flightctl.core.settings import Settings

MAX_PAGE_SIZE: Final = 100
MAX_PAGE: Final = 10**9
SORT_KEYS: Final = ("price", "duration", "departure")
_RELATIVE: Final = re.compile(r"\+(\d{1,4})d", re.ASCII)
_ISO_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


def search(runtime: Runtime, request: SearchRequest) -> SearchResult:
    """All valid itineraries counted, one page of them shown.

    Raises UnknownAirportError, ValidationError, and DatabaseUnavailableError when Redis cannot answer alone.
    """
    source, destination, filters = understood(runtime, request)
    trace = SearchTrace()
    day = resolve_day(request.date, lambda: now(runtime), source, "--date")
    [asked] = timetables(runtime, source, destination, [day], trace)
    timetable = asked.timetable
    counts = seat_counts(runtime, [asked], trace)
    with trace.timing("routing"):
        available = [counts.get(flight_id, 0) for flight_id in timetable.ids]
        query = query_of(runtime.settings, request, filters, asked.now)
        total, page = find(timetable, available, query)
        content = itineraries(timetable, page, available)
        without = None
        if filters is not None and not total:
            without, _ = find(timetable, available, query._replace(filters=None))
    trace.flights = len(timetable)
    trace.redis = redis_state(runtime)
    return SearchResult(content, request.page, request.size, total, trace=trace, without_filters=without)


def understood(runtime: Runtime, request: SearchRequest) -> tuple[str, str, Filters | None]:
    """The codes of the airports, and the filters. Raises UnknownAirportError, ValidationError."""
    _check(runtime.settings, request)
    source, destination = airport(request.source).iata, airport(request.destination).iata
    if source == destination:
        raise ValidationError(f"{source} is both the origin and the destination")
    if request.filters == SearchFilters():
        return source, destination, None
    from flightctl.core.search_filters import parse

    return source, destination, parse(request.filters, source, destination)


def query_of(settings: Settings, request: SearchRequest, filters: Filters | None, now: int) -> Query:
    return Query(
        seats=request.seats,
        max_hops=request.max_hops,
        sort=cast(SortKey, request.sort),  # _check has seen to it
        desc=request.descending,
        page=request.page,
        size=request.size,
        now=now,
        min_connection=round(settings["search.min_connection"] * 1e6),
        max_connection=round(settings["search.max_connection"] * 1e6),
        filters=filters,
    )


def redis_state(runtime: Runtime) -> str:
    if not runtime.cache.configured:
        return "not configured"
    return "answers" if runtime.cache.enabled else "not usable, left alone for a while"


def _check(settings: Settings, request: SearchRequest) -> None:
    limit = settings["booking.max_seats"]
    if not 1 <= request.seats <= limit:
        raise ValidationError(f"--seats takes 1 to {limit}, not {request.seats}")
    if not 1 <= request.max_hops <= MAX_LEGS:
        raise ValidationError(f"--max-hops takes 1 to {MAX_LEGS}, not {request.max_hops}")
    if request.sort not in SORT_KEYS:
        raise ValidationError(f"--sort takes {', '.join(SORT_KEYS)}, not {request.sort[:40]!r}")
    if not 0 <= request.page <= MAX_PAGE:
        raise ValidationError(f"--page counts from 0, not {request.page}")
    if not 1 <= request.size <= MAX_PAGE_SIZE:
        raise ValidationError(f"--size takes 1 to {MAX_PAGE_SIZE}, not {request.size}")


def resolve_day(text: str, now: Callable[[], datetime], origin: str | None, what: str) -> date:
    """The date that ``text`` names: ``YYYY-MM-DD``, or ``today``, ``tomorrow``, ``+3d`` by the origin's calendar (UTC
    where ``origin`` is None). ``now`` is called for the instant only where one is needed. Raises ValidationError.
    """
    word = text.strip().lower()
    relative = _RELATIVE.fullmatch(word)
    offset = {"today": 0, "tomorrow": 1}.get(word, int(relative[1]) if relative else None)
    if offset is not None:
        local = now().astimezone(UTC if origin is None else zone(origin))
        return local.date() + timedelta(days=offset)
    try:
        if not _ISO_DATE.fullmatch(word):
            raise ValueError
        return date.fromisoformat(word)
    except ValueError:
        raise ValidationError(
            f"{what} {text[:40]!r} is not a date", hint="Write it as 2026-12-01, today, tomorrow or +3d."
        ) from None


def now(runtime: Runtime) -> datetime:
    """The servers' clock, not this machine's."""
    micros = runtime.cache.clock() if runtime.cache.enabled else None
    if micros is not None:
        return to_instant(micros)
    from flightctl.core.schedule import database_now

    return runtime.reader.read(database_now)


def itineraries(timetable: Timetable, page: Sequence[tuple[int, ...]], available: list[int]) -> tuple[Itinerary, ...]:
    """Of each its flights, as indices in the timetable; many share a leg."""
    legs = {
        i: ItineraryLeg(
            flight_id=timetable.ids[i],
            source=timetable.sources[i],
            destination=timetable.destinations[i],
            departure_time=to_instant(timetable.departures[i]),
            arrival_time=to_instant(timetable.arrivals[i]),
            price=Decimal(timetable.prices[i]).scaleb(-2),
            available_seats=available[i],
        )
        for i in {i for one in page for i in one}
    }
    ids, source, destination = timetable.ids, timetable.source, timetable.destination
    return tuple(
        Itinerary(
            flight_identifier=itinerary_identifier(tuple([ids[i] for i in one]), source, destination),
            type=FlightType.DIRECT if len(one) == 1 else FlightType.COMPUTED,
            legs=tuple([legs[i] for i in one]),
        )
        for one in page
    )
