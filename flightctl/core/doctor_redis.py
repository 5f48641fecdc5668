"""Redis as ``doctor`` sees it. Nothing needs it, so nothing that is wrong with it is more than a warning."""

import time
from statistics import median
from typing import Any, Final

from flightctl.core.cache import Cache
from flightctl.core.doctor_database import clock_check
from flightctl.core.errors import FlightctlError
from flightctl.core.model.operations import DoctorCheck
from flightctl.core.runtime import Runtime
from flightctl.core.settings import mask_url

OK, WARNING, FAILED = "ok", "warning", "failed"
SLOW_SECONDS: Final = 0.05
"""From here on a call counts as trouble (cache.py): a few of them, and Redis is left alone."""
OLDEST: Final = 6
FULL_SHARE: Final = 0.9
_MEANWHILE: Final = "searches are slower meanwhile, bookings are as safe as ever"
_LOOKS: Final = 5


def examine(runtime: Runtime) -> list[DoctorCheck]:
    """``redis``, and where it works ``redis clock``."""
    shown = mask_url(runtime.settings["redis.url"])
    said: list[str] = []
    try:
        cache = Cache(runtime.settings, said.append)
    except FlightctlError as error:
        return [DoctorCheck("redis", FAILED, error.message, error.hint)]
    if not cache.configured:
        return [DoctorCheck("redis", OK, "not configured; everything works from the database")]
    try:
        latencies = [_ping(cache) for _ in range(_LOOKS)]
        facts = cache.info() if cache.takes_writes() else {}
        if said or not facts:
            return [_unusable(shown, said, runtime)]
        checks = [_state(shown, median(latencies), facts)]
        if (now := cache.clock()) is not None:
            checks.append(clock_check("redis clock", now / 1e6 - time.time(), "Redis's"))
        return checks
    finally:
        cache.close()


def _ping(cache: Cache) -> float:
    began = time.perf_counter()
    cache.ping()
    return time.perf_counter() - began


def _unusable(shown: str, said: list[str], runtime: Runtime) -> DoctorCheck:
    """The cache's own words tell why, e.g. ``Redis is not usable (no connection); …``."""
    runtime.warn(said[0] if said else "Redis does not answer as it should; going on from the database alone")
    reason = said[0].partition("(")[2].rpartition(")")[0] if said else "it does not answer as it should"
    steps = {
        "no connection": "Start it, or check host and port in FLIGHTCTL_REDIS_URL.",
        "it refuses the password": "Check the password in FLIGHTCTL_REDIS_URL.",
        "it answers too slowly": "It hangs, or the network does: look at SLOWLOG and its machine's load.",
    }
    pause = f"Every command leaves it alone for {runtime.settings['redis.pause']:g} s after a failure."
    step = steps.get(reason, "Look at its log.")
    return DoctorCheck("redis", WARNING, f"{shown} is not usable ({reason}); {_MEANWHILE}", f"{step} {pause}")


def _state(shown: str, latency: float, facts: dict[str, Any]) -> DoctorCheck:
    version = str(facts.get("redis_version", ""))
    policy, limit = facts.get("maxmemory_policy", "unknown"), int(facts.get("maxmemory") or 0)
    used = int(facts.get("used_memory") or 0)
    memory = f"{used / 1e6:.0f} MB" + (f" of {limit / 1e6:.0f} MB" if limit else ", no limit")
    detail = f"{shown}: version {version or 'unknown'}, answers in {latency * 1000:.1f} ms, {memory}, {policy}"
    if version.partition(".")[0].isdigit() and int(version.partition(".")[0]) < OLDEST:
        return DoctorCheck("redis", WARNING, detail, f"flightctl needs Redis {OLDEST} or newer.")
    if latency > SLOW_SECONDS:
        return DoctorCheck("redis", WARNING, detail, f"It is too slow to be of use: {_MEANWHILE}.")
    if limit and policy == "noeviction":
        step = "Set maxmemory-policy to allkeys-lru: all keys of flightctl may go, and a full Redis refuses new ones."
        if used > FULL_SHARE * limit:
            step = f"It is nearly full. {step}"
        return DoctorCheck("redis", WARNING, detail, step)
    return DoctorCheck("redis", OK, detail)
