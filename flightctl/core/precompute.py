"""Filling the routes cache before anyone asks."""

import time
from datetime import timedelta

from flightctl.core.errors import ServiceUnavailableError, ValidationError
from flightctl.core.lists import busiest_pairs
from flightctl.core.model.operations import PrecomputeResult
from flightctl.core.runtime import Runtime
from flightctl.core.search import now, resolve_day
from flightctl.core.search_store import encode, from_database


def precompute(runtime: Runtime, *, date: str, days: int, top: int) -> PrecomputeResult:
    """Fill the routes cache for the ``top`` busiest city pairs of each of ``days`` days from ``date``.

    Raises ValidationError; ServiceUnavailableError when there is no Redis to fill.
    """
    if not 1 <= days <= 366 or not 1 <= top <= 100_000:
        raise ValidationError("--days goes from 1 to 366, --top from 1 to 100000")
    started = time.monotonic()
    first = resolve_day(date, lambda: now(runtime), None, "--date")
    _require_redis(runtime, 0)
    routes = 0
    for day in (first + timedelta(days=offset) for offset in range(days)):
        for source, destination in busiest_pairs(runtime, day, top):
            loaded = from_database(runtime, source, destination, day, runtime.database)
            value = encode(loaded.timetable, loaded.version)
            runtime.cache.put_route(source, destination, day, value, loaded.version, loaded.believed_seconds)
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
