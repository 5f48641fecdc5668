"""Redis as a cache: seat counts, routes and the schedule's version. Advice only: nothing here raises.

A failure trips a breaker: Redis is then left alone for ``redis.pause``, and the command goes on from the database
with one warning. Slow answers count too, so that one command never loses more than ``DELAY_BUDGET`` to Redis.
Values that nobody here would have written are misses, not failures.
"""

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from flightctl.core.counters import Counters
from flightctl.core.errors import ConfigError
from flightctl.core.settings import Settings, mask_url

if TYPE_CHECKING:
    from redis import Redis

SEATS_SECONDS: Final = 60
ROUTES_SECONDS: Final = 3600
DELAY_BUDGET: Final = 0.45
"""Seconds that one command may lose to a Redis in trouble (0.5 is promised; the rest is for the warning)."""
CALL_TIMEOUT: Final = 0.2
_SLOW_CALL: Final = 0.05
"""A call longer than this eats into the budget; ordinary ones take well under a millisecond."""
_BATCH: Final = 1000
"""Keys per MGET or script call: Redis serves others between calls."""

# A count or version is only replaced by one as new or newer. A version from the future (more than a day ahead of
# Redis's clock; versions are microseconds of an epoch) was never ours and is replaced too.
_PUBLISH: Final = """
local t = redis.call('TIME')
local horizon = (t[1] + 86400) * 1000000
for i, key in ipairs(KEYS) do
  local old = redis.pcall('GET', key)
  local known = type(old) == 'string' and (string.match(old, '^%d+:(%d+)$') or string.match(old, '^(%d+)$'))
  known = known and tonumber(known)
  local fresh = ARGV[i + 1]
  if not known or known > horizon or known <= tonumber(string.match(fresh, '(%d+)$')) then
    redis.call('SET', key, fresh, 'EX', ARGV[1])
  end
end
return 1
"""
_COUNT: Final = re.compile(rb"(\d{1,5}):(\d{1,19})", re.ASCII)
_VERSION: Final = re.compile(rb"\d{1,19}", re.ASCII)


@dataclass(frozen=True, slots=True)
class SeatCount:
    """Available seats of one flight (0 when it is not ACTIVE) at one ``flights.seat_version``."""

    seats: int
    version: int


@dataclass(frozen=True, slots=True)
class RouteEntry:
    """What Redis knew: the routes' bytes, the schedule's version and its clock (microseconds since the epoch)."""

    routes: bytes | None
    schedule_version: int | None
    now: int


class Cache:
    """One process's view of Redis. ``enabled`` is False when there is none, or while the breaker is open."""

    def __init__(self, settings: Settings, warn: Callable[[str], None]) -> None:
        self.url: str = settings["redis.url"]
        self._prefix: str = settings["redis.prefix"]
        self._pause: float = settings["redis.pause"]
        self._warn = warn
        self._client: Redis | None = None
        self._off_until = 0.0
        self._down = False
        self._trouble = ""
        self._told = False
        self._lost = 0.0
        self._lost_at = 0.0
        self.counters = Counters()
        """``seats.hits``, ``seats.misses``, ``routes.hits``, ``routes.misses``; ``trips`` of the breaker."""
        if self.url:
            check_redis_url(self.url)

    @property
    def configured(self) -> bool:
        return bool(self.url)

    @property
    def enabled(self) -> bool:
        if not self.configured:
            return False
        if time.monotonic() >= self._off_until:
            return True
        self._tell()
        return False

    def renew(self) -> None:
        """For another command of the same process, which has a user to be told anew that Redis is left alone."""
        self._told = False

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def key(self, name: str) -> str:
        return self._prefix + name

    def call(self, work: "Callable[[Redis], Any]", *, patience: float = 0.0) -> Any:
        """What ``work`` returns; None when Redis is off or fails. ``patience``: seconds that it waits on purpose."""
        if not self.enabled:
            return None
        started = time.monotonic()
        try:
            result = work(self._connected())
        except Exception as error:  # noqa: BLE001 - whatever a client does with rubbish, a use case goes on without it
            self._trip(error)
            return None
        self._spend(time.monotonic() - started - patience)
        if self._down:
            self._down = self._told = False
            self._warn("Redis is back")
        return result

    def script(self, calls: Sequence[tuple[str, Sequence[str], Sequence[str | int]]]) -> list[Any] | None:
        """Results of Lua calls ``(source, keys, arguments)``, all in one round trip; None on failure."""

        def run(client: "Redis") -> list[Any]:
            from redis.exceptions import NoScriptError

            results = _evaluate(client, calls, by_hash=True)
            if any(isinstance(result, NoScriptError) for result in results):  # Redis restarted, or was flushed
                results = _evaluate(client, calls, by_hash=False)
            for result in results:
                if isinstance(result, Exception):
                    raise result
            return results

        result: list[Any] | None = self.call(run)
        return result

    def publication(self, counts: Mapping[str, SeatCount]) -> tuple[str, list[str], list[str | int]]:
        """The script call that publishes ``counts``; the locks send it together with their release."""
        keys = [self.key(f"flight:{flight_id}:seats") for flight_id in counts]
        return _PUBLISH, keys, [SEATS_SECONDS, *(f"{count.seats}:{count.version}" for count in counts.values())]

    def publish_seats(self, counts: Mapping[str, SeatCount]) -> None:
        items = list(counts.items())
        for start in range(0, len(items), _BATCH):
            if self.script([self.publication(dict(items[start : start + _BATCH]))]) is None:
                return

    def publish_schedule_version(self, version: int) -> None:
        self.script([(_PUBLISH, [self.key("schedule:version")], [SEATS_SECONDS, str(version)])])

    def forget_seats(self, flight_ids: Sequence[str]) -> None:
        keys = [self.key(f"flight:{flight_id}:seats") for flight_id in flight_ids]
        self.call(lambda client: client.delete(*keys))

    def seat_counts(self, flight_ids: Sequence[str]) -> dict[str, SeatCount]:
        """The counts that Redis knows; flights it does not know are missing."""
        counts: dict[str, SeatCount] = {}
        for start in range(0, len(flight_ids), _BATCH):
            batch = flight_ids[start : start + _BATCH]
            keys = [self.key(f"flight:{flight_id}:seats") for flight_id in batch]
            values = self.call(partial(_mget, keys))
            if not isinstance(values, list) or len(values) != len(batch):
                break
            for flight_id, value in zip(batch, values, strict=True):
                match = _COUNT.fullmatch(value) if isinstance(value, bytes) else None
                if match:
                    counts[flight_id] = SeatCount(int(match[1]), int(match[2]))
        self.counters.add("seats.hits", len(counts))
        self.counters.add("seats.misses", len(flight_ids) - len(counts))
        return counts

    def known_flights(self) -> list[str]:
        """Flights whose counts Redis holds now (SCAN: Redis serves others meanwhile)."""
        start, end = self.key("flight:"), ":seats"

        def run(client: "Redis") -> list[str]:
            pattern = re.sub(r"([*?\[\]\\])", r"\\\1", start) + "*" + end
            found = client.scan_iter(match=pattern, count=_BATCH)
            return [key.decode("utf-8", "replace")[len(start) : -len(end)] for key in found]

        result: list[str] | None = self.call(run)
        return result or []

    def route(self, source: str, destination: str, day: date) -> RouteEntry | None:
        def run(client: "Redis") -> RouteEntry:
            pipe = client.pipeline(transaction=False)
            pipe.mget([self._route_key(source, destination, day), self.key("schedule:version")])
            pipe.time()
            (routes, version), (seconds, micros) = pipe.execute()
            known = _VERSION.fullmatch(version) if isinstance(version, bytes) else None
            return RouteEntry(
                routes if isinstance(routes, bytes) else None,
                int(known[0]) if known else None,
                int(seconds) * 1_000_000 + int(micros),
            )

        entry: RouteEntry | None = self.call(run)
        self.counters.add("routes.hits" if entry is not None and entry.routes is not None else "routes.misses")
        return entry

    def put_route(self, source: str, destination: str, day: date, value: bytes) -> None:
        self.call(lambda client: client.set(self._route_key(source, destination, day), value, ex=ROUTES_SECONDS))

    def clock(self) -> int | None:
        """Redis's clock, microseconds since the epoch."""

        def run(client: "Redis") -> int:
            seconds, micros = client.time()
            return int(seconds) * 1_000_000 + int(micros)

        now: int | None = self.call(run)
        return now

    def ping(self) -> bool:
        return self.call(lambda client: client.ping()) is True

    def _route_key(self, source: str, destination: str, day: date) -> str:
        return self.key(f"routes:{source}:{destination}:{day.isoformat()}")

    def _connected(self) -> "Redis":
        if self._client is None:
            self._client = connect(self.url)
        return self._client

    def _spend(self, seconds: float) -> None:
        """Take a slow call off the budget, which refills at a twentieth of real time (for the daemon)."""
        if seconds < _SLOW_CALL:
            return
        now = time.monotonic()
        self._lost = max(0.0, self._lost - (now - self._lost_at) / 20) + seconds
        self._lost_at = now
        if self._lost > DELAY_BUDGET - CALL_TIMEOUT:
            self._trip(TimeoutError("it answers too slowly"))

    def _trip(self, error: Exception) -> None:
        self._off_until = time.monotonic() + self._pause
        self.counters.add("trips")
        if self._client is not None:
            # Idle connections only: one that another thread is using would break under it.
            self._client.connection_pool.disconnect(inuse_connections=False)
        self._down = True
        self._trouble = _reason(error)
        self._tell()

    def _tell(self) -> None:
        """Once, until Redis is back or another command begins."""
        if not self._told:
            self._told = True
            self._warn(f"Redis is not usable ({self._trouble}); going on from the database alone")


def connect(url: str, *, timeout: float = CALL_TIMEOUT) -> "Redis":
    """A client that fails fast: no retries, no handshake beyond what the server needs."""
    from inspect import signature

    from redis import Redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    # The names that clients introduce themselves with cost two commands a connection.
    modern = "driver_info" in signature(Redis.__init__).parameters
    unnamed: dict[str, Any] = {"driver_info": None} if modern else {"lib_name": None, "lib_version": None}

    return Redis.from_url(
        url,
        socket_timeout=timeout,
        socket_connect_timeout=CALL_TIMEOUT,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
        **unnamed,
    )


def check_redis_url(url: str) -> None:
    """Raises ConfigError for what is not a Redis URL."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        good = parts.scheme in {"redis", "rediss", "unix"} and (parts.port is None or 0 < parts.port < 65536)
        good = good and bool(parts.hostname or parts.scheme == "unix")
        good = good and (parts.scheme == "unix" or re.fullmatch(r"/?\d*", parts.path) is not None)
    except ValueError:
        good = False
    if not good:
        raise ConfigError(
            f"redis.url {mask_url(url)[:120]!r} is not a Redis URL", hint="Write redis://:password@host:6379/0."
        )


def _evaluate(client: "Redis", calls: Iterable[tuple[str, Sequence[str], Sequence[Any]]], by_hash: bool) -> list[Any]:
    import hashlib

    pipe = client.pipeline(transaction=False)
    for source, keys, arguments in calls:
        if by_hash:
            pipe.evalsha(hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest(), len(keys), *keys, *arguments)
        else:
            pipe.eval(source, len(keys), *keys, *arguments)
    return list(pipe.execute(raise_on_error=False))


def _reason(error: Exception) -> str:
    from redis.exceptions import AuthenticationError
    from redis.exceptions import TimeoutError as RedisTimeout

    if isinstance(error, AuthenticationError):
        return "it refuses the password"
    if isinstance(error, RedisTimeout | TimeoutError):
        return "it answers too slowly"
    if isinstance(error, ConnectionError | OSError) or type(error).__name__ == "ConnectionError":
        return "no connection"
    return " ".join(str(error).split())[:80] or type(error).__name__


def _mget(keys: Sequence[str], client: "Redis") -> Any:
    return client.mget(keys)
