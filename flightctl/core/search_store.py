"""What a search works on: the timetables of one or more days from Redis or the database, and fresh seat counts.

Nothing here needs SQLAlchemy when Redis knows everything: what the database must be asked for is imported then.
"""

import time
from collections import Counter
from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING, Final, NamedTuple

from flightctl.core.cache import RouteEntry, SeatCount
from flightctl.core.errors import DatabaseUnavailableError
from flightctl.core.routing import Timetable
from flightctl.core.routing_pack import pack, unpack
from flightctl.core.runtime import Runtime
from flightctl.core.search_trace import SearchTrace
from flightctl.core.settings import Settings

if TYPE_CHECKING:
    from flightctl.core.database import Database
    from flightctl.core.loading import Loaded
    from flightctl.core.replicas import Reader

_STALE_SECONDS: Final = 20.0
"""Counts read longer ago than this are not written back: a process that was stopped in between must not outlive the
60 s after which a newer count, and its version with it, is forgotten."""


class Asked(NamedTuple):
    """One day's timetable, the clock in microseconds, and what the database said where its seats may be believed."""

    timetable: Timetable
    now: int
    loaded: "Loaded | None"


def timetables(
    runtime: Runtime, source: str, destination: str, days: Sequence[date], trace: SearchTrace
) -> list[Asked]:
    """For each of the days, in their order. Raises DatabaseUnavailableError when Redis cannot answer alone."""
    cache = runtime.cache
    replicated = bool(runtime.settings["database.read_urls"])
    with trace.timing("cache"):
        entries = cache.routes(source, destination, days) if cache.enabled else None
    version: int | None = None
    if entries:
        version = entries[0].schedule_version
        if version is None and (replicated or any(entry.routes is not None for entry in entries)):
            with trace.timing("database"):
                version = _current_version(runtime)
    found: list[Asked] = []
    states: Counter[str] = Counter()
    each: Sequence[RouteEntry | None] = entries or [None] * len(days)
    for day, entry in zip(days, each, strict=True):
        cached = None
        if entry is not None:
            with trace.timing("routing"):
                cached = _decode(runtime.settings, entry.routes, version)
        if entry is not None and cached is not None and (cached.source, cached.destination) == (source, destination):
            states["hit"] += 1
            found.append(Asked(cached, entry.now, None))
            continue
        states["not asked" if entry is None else "miss" if entry.routes is None else "stale"] += 1
        found.append(_fill(runtime, source, destination, day, entry, version, trace))
    trace.routes = _told(states)
    return found


def _told(states: Counter[str]) -> str:
    return next(iter(states), "not asked") if states.total() < 2 else ", ".join(f"{n} {s}" for s, n in states.items())


def _fill(
    runtime: Runtime,
    source: str,
    destination: str,
    day: date,
    entry: RouteEntry | None,
    version: int | None,
    trace: SearchTrace,
) -> Asked:
    """From the database, and the cache filled where it was asked (``entry``)."""
    cache = runtime.cache
    with trace.timing("database"):
        loaded = from_database(runtime, source, destination, day, runtime.reader)
        if version is not None and loaded.version < version:  # a replica that has not heard of a change
            loaded = from_database(runtime, source, destination, day, runtime.database)
    trace.rows_read += loaded.rows
    trace.packed = trace.packed or loaded.packed
    if entry is not None:
        with trace.timing("cache"):
            packed = encode(loaded.timetable, loaded.version)
            cache.put_route(source, destination, day, packed, loaded.version, loaded.believed_seconds)
    # A replica's seats must not get into the cache, which all machines look at.
    replicated = bool(runtime.settings["database.read_urls"])
    return Asked(loaded.timetable, loaded.now, None if replicated and cache.enabled else loaded)


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


def encode(timetable: Timetable, version: int) -> bytes:
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


def from_database(runtime: Runtime, source: str, destination: str, day: date, store: "Database | Reader") -> "Loaded":
    from flightctl.core.loading import load

    minimum, maximum = (round(runtime.settings[f"search.{name}_connection"] * 1e6) for name in ("min", "max"))
    return store.read(
        lambda tx: load(tx, source, destination, day, min_connection=minimum, max_connection=maximum, packed=True)
    )


def seat_counts(runtime: Runtime, asked: Sequence[Asked], trace: SearchTrace) -> dict[str, int]:
    """Fresh counts: from Redis, and what Redis lacks from the primary database in one query, written back.

    That query may have been the one for the routes, just now.
    """
    flight_ids = asked[0].timetable.ids
    if len(asked) > 1:  # a flight may be in the timetables of two days
        flight_ids = list(dict.fromkeys(flight_id for one in asked for flight_id in one.timetable.ids))
    cached = runtime.cache.enabled
    with trace.timing("cache"):
        counts = runtime.cache.seats(flight_ids) if cached else {}
    missing = [flight_id for flight_id in flight_ids if flight_id not in counts]
    trace.counts_hit, trace.counts_missed = len(counts), len(missing)
    if missing:
        # What gets into the cache, which all machines look at, is the primary's.
        store = runtime.database if cached else runtime.reader
        found, read_at = _missing(store, missing, [one.loaded for one in asked if one.loaded], trace)
        counts.update((flight_id, count.seats) for flight_id, count in found.items())
        if cached and time.monotonic() - read_at < _STALE_SECONDS:
            with trace.timing("cache"):
                runtime.cache.publish_seats(found)
    return counts


def _missing(
    store: "Database | Reader", flight_ids: Sequence[str], loaded: Sequence["Loaded"], trace: SearchTrace
) -> tuple[dict[str, SeatCount], float]:
    """Counts from the database, and when it was asked for the first of them (monotonic)."""
    read = {flight_id: count for one in loaded for flight_id, count in one.counts.items()}
    found = {flight_id: read[flight_id] for flight_id in flight_ids if flight_id in read}
    read_at = min((one.read_at for one in loaded), default=time.monotonic())
    rest = [flight_id for flight_id in flight_ids if flight_id not in found]
    if rest:
        from flightctl.core import inventory

        with trace.timing("database"):
            fetched = store.read(lambda tx: inventory.counts(tx, rest))
        trace.rows_read += 0 if trace.packed else len(fetched)
        found.update(fetched)
    return found, read_at
