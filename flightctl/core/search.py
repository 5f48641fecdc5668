"""The search use case: routes from Redis or the database, fresh seat counts, one exact page.

Nothing here needs SQLAlchemy when Redis knows everything: what the database must be asked for is imported then.
"""

import re
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Final, cast

from flightctl.core.cache import SeatCount
from flightctl.core.errors import DatabaseUnavailableError, ServiceUnavailableError, ValidationError
from flightctl.core.model import (
    FlightType,
    Itinerary,
    ItineraryLeg,
    PrecomputeResult,
    SearchRequest,
    SearchResult,
    itinerary_identifier,
)
from flightctl.core.network import airport, zone
from flightctl.core.routing import MAX_LEGS, Query, SortKey, Timetable, to_instant
from flightctl.core.routing_pack import pack, unpack
from flightctl.core.routing_query import find
from flightctl.core.runtime import Runtime
from flightctl.core.search_trace import SearchTrace
from flightctl.core.settings import Settings

if TYPE_CHECKING:
    from flightctl.core.database import Database
    from flightctl.core.replicas import Reader
    from flightctl.core.schedule import Loaded

MAX_PAGE_SIZE: Final = 100
MAX_PAGE: Final = 10**9
SORT_KEYS: Final = ("price", "duration", "departure")
_RELATIVE: Final = re.compile(r"\+(\d{1,4})d", re.ASCII)
_ISO_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_STALE_SECONDS: Final = 20.0
"""Counts read longer ago than this are not written back: a process that was stopped in between must not outlive the
60 s after which a newer count, and its version with it, is forgotten."""


def search(runtime: Runtime, request: SearchRequest) -> SearchResult:
    """All valid itineraries counted, one page of them shown.

    Raises UnknownAirportError, ValidationError, and DatabaseUnavailableError when Redis cannot answer alone.
    """
    _check(runtime.settings, request)
    source, destination = airport(request.source).iata, airport(request.destination).iata
    if source == destination:
        raise ValidationError(f"{source} is both the origin and the destination")
    trace = SearchTrace()
    day = resolve_day(request.date, lambda: _now(runtime), source, "--date")
    timetable, now, loaded = _routes(runtime, source, destination, day, trace)
    counts = _seats(runtime, timetable.ids, loaded, trace)
    with trace.timing("routing"):
        available = [counts.get(flight_id, 0) for flight_id in timetable.ids]
        total, page = find(timetable, available, _query(runtime.settings, request, now))
        content = tuple(_itinerary(timetable, legs, available) for legs in page)
    trace.flights = len(timetable)
    trace.redis = _state(runtime)
    return SearchResult(content, request.page, request.size, total, trace=trace)


def _query(settings: Settings, request: SearchRequest, now: int) -> Query:
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
    )


def _state(runtime: Runtime) -> str:
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


def _now(runtime: Runtime) -> datetime:
    """The servers' clock, not this machine's."""
    micros = runtime.cache.clock() if runtime.cache.enabled else None
    if micros is not None:
        return to_instant(micros)
    from flightctl.core.schedule import database_now

    return runtime.reader.read(database_now)


def _routes(
    runtime: Runtime, source: str, destination: str, day: date, trace: SearchTrace
) -> "tuple[Timetable, int, Loaded | None]":
    """The question's timetable, the clock in microseconds, and what the database said where it was asked."""
    cache = runtime.cache
    version: int | None = None
    replicated = bool(runtime.settings["database.read_urls"])
    with trace.timing("cache"):
        entry = cache.route(source, destination, day) if cache.enabled else None
    if entry is not None:
        trace.routes = "miss" if entry.routes is None else "stale"
        version = entry.schedule_version
        if version is None and (entry.routes is not None or replicated):
            with trace.timing("database"):
                version = _current_version(runtime)
        with trace.timing("routing"):
            cached = _decode(runtime.settings, entry.routes, version)
        if cached is not None and (cached.source, cached.destination) == (source, destination):
            trace.routes = "hit"
            return cached, entry.now, None
    with trace.timing("database"):
        loaded = _from_database(runtime, source, destination, day, runtime.reader)
        if version is not None and loaded.version < version:  # a replica that has not heard of a change
            loaded = _from_database(runtime, source, destination, day, runtime.database)
    trace.rows_read = loaded.rows
    if entry is not None:
        with trace.timing("cache"):
            cache.put_route(source, destination, day, _encode(loaded.timetable, loaded.version))
            cache.publish_schedule_version(loaded.version)
    # A replica's seats must not get into the cache, which all machines look at.
    return loaded.timetable, loaded.now, None if replicated and cache.enabled else loaded


def _current_version(runtime: Runtime) -> int | None:
    """The schedule's version from the database; None when it is down and the cached routes must do without."""
    from flightctl.core.schedule import version

    try:
        current = runtime.database.read(version)
    except DatabaseUnavailableError:
        runtime.warn("the database does not answer; showing routes as Redis knows them")
        return None
    runtime.cache.publish_schedule_version(current)
    return current


def _encode(timetable: Timetable, version: int) -> bytes:
    return b"%d\n" % version + pack(timetable)


def _decode(settings: Settings, value: bytes | None, version: int | None) -> Timetable | None:
    """Cached routes, unless they are of another schedule, for other connection times, or no routes at all."""
    if value is None:
        return None
    stamp, _, packed = value.partition(b"\n")
    if version is not None and stamp != b"%d" % version:
        return None
    try:
        timetable = unpack(packed)
    except ValueError:
        return None
    bounds = (round(settings[f"search.{name}_connection"] * 1e6) for name in ("min", "max"))
    return timetable if timetable.answers(*bounds) else None


def _from_database(runtime: Runtime, source: str, destination: str, day: date, store: "Database | Reader") -> "Loaded":
    from flightctl.core import schedule

    minimum, maximum = (round(runtime.settings[f"search.{name}_connection"] * 1e6) for name in ("min", "max"))
    return store.read(
        lambda tx: schedule.load(tx, source, destination, day, min_connection=minimum, max_connection=maximum)
    )


def _seats(runtime: Runtime, flight_ids: list[str], loaded: "Loaded | None", trace: SearchTrace) -> dict[str, int]:
    """Fresh counts: from Redis, and what Redis lacks from the primary database in one query, written back.

    That query may have been the one for the routes, just now.
    """
    with trace.timing("cache"):
        known = runtime.cache.seat_counts(flight_ids) if runtime.cache.enabled else {}
    counts = {flight_id: count.seats for flight_id, count in known.items()}
    missing = [flight_id for flight_id in flight_ids if flight_id not in counts]
    trace.counts_hit, trace.counts_missed = len(counts), len(missing)
    if missing:
        found, read_at = _missing(runtime, missing, loaded, trace)
        counts.update((flight_id, count.seats) for flight_id, count in found.items())
        if runtime.cache.enabled and time.monotonic() - read_at < _STALE_SECONDS:
            with trace.timing("cache"):
                runtime.cache.publish_seats(found)
    return counts


def _missing(
    runtime: Runtime, flight_ids: list[str], loaded: "Loaded | None", trace: SearchTrace
) -> tuple[dict[str, SeatCount], float]:
    """Counts from the database, and when it was asked for them (monotonic)."""
    if loaded is not None:
        return {flight_id: loaded.counts[flight_id] for flight_id in flight_ids}, loaded.read_at
    from flightctl.core import inventory

    read_at = time.monotonic()
    with trace.timing("database"):
        found = runtime.database.read(lambda tx: inventory.counts(tx, flight_ids))
    trace.rows_read += len(found)
    return found, read_at


def _itinerary(timetable: Timetable, legs: tuple[int, ...], available: list[int]) -> Itinerary:
    flight_ids = tuple(timetable.ids[leg] for leg in legs)
    return Itinerary(
        flight_identifier=itinerary_identifier(flight_ids, timetable.source, timetable.destination),
        type=FlightType.DIRECT if len(legs) == 1 else FlightType.COMPUTED,
        legs=tuple(
            ItineraryLeg(
                flight_id=timetable.ids[leg],
                source=timetable.sources[leg],
                destination=timetable.destinations[leg],
                departure_time=to_instant(timetable.departures[leg]),
                arrival_time=to_instant(timetable.arrivals[leg]),
                price=Decimal(timetable.prices[leg]).scaleb(-2),
                available_seats=available[leg],
            )
            for leg in legs
        ),
    )


def precompute(runtime: Runtime, *, date: str, days: int, top: int) -> PrecomputeResult:
    """Fill the routes cache for the ``top`` busiest city pairs of each of ``days`` days from ``date``.

    Raises ValidationError; ServiceUnavailableError when there is no Redis to fill.
    """
    from flightctl.core.lists import busiest_pairs

    if not 1 <= days <= 366 or not 1 <= top <= 100_000:
        raise ValidationError("--days goes from 1 to 366, --top from 1 to 100000")
    started = time.monotonic()
    first = resolve_day(date, lambda: _now(runtime), None, "--date")
    _require_redis(runtime, 0)
    routes = 0
    for day in (first + timedelta(days=offset) for offset in range(days)):
        for source, destination in busiest_pairs(runtime, day, top):
            loaded = _from_database(runtime, source, destination, day, runtime.database)
            runtime.cache.put_route(source, destination, day, _encode(loaded.timetable, loaded.version))
            _require_redis(runtime, routes)
            routes += 1
    return PrecomputeResult(routes, days, round((time.monotonic() - started) * 1000))


def _require_redis(runtime: Runtime, routes: int) -> None:
    if not runtime.cache.enabled:
        raise ServiceUnavailableError(
            "there is no Redis to fill" if not runtime.cache.configured else "Redis is not usable",
            hint="Set FLIGHTCTL_REDIS_URL."
            if not runtime.cache.configured
            else "`flightctl doctor` tells what is down.",
            details={"routes": routes},
        )
