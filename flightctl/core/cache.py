"""Redis as a cache: seat counts, routes and the schedule's version. Advice only: nothing here raises.

A failure trips a breaker: Redis is then left alone for ``redis.pause``, and the command goes on from the database
with one warning. Values that nobody here would have written are misses, not failures.
"""

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date
from functools import lru_cache
from typing import Any, Final, NamedTuple

from flightctl.core.breaker import CALL_TIMEOUT, Breaker
from flightctl.core.counters import Counters
from flightctl.core.redis_commands import Command, Wire, accepted
from flightctl.core.redis_url import redis_target
from flightctl.core.settings import Settings

SEATS_SECONDS: Final = 60
ROUTES_SECONDS: Final = 3600
_TRIAL_MS: Final = 1000
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
_COUNTS: Final = re.compile(rb"^(?:(\d{1,5}):(\d{1,19})$)?.*$", re.MULTILINE)
_SEATS: Final = re.compile(rb"^(?:(\d{1,5}):\d{1,19}$)?.*$", re.MULTILINE)
"""Of many values, one a line: what each line holds, or nothing. (A match for each value takes a third of a search.)"""
_VERSION: Final = re.compile(rb"\d{1,19}", re.ASCII)


class SeatCount(NamedTuple):
    """Available seats of one flight (0 when it is not ACTIVE) at one ``flights.seat_version``."""

    seats: int
    version: int


class RouteEntry(NamedTuple):
    """What Redis knew: the routes' bytes, the schedule's version and its clock (microseconds since the epoch)."""

    routes: bytes | None
    schedule_version: int | None
    now: int


ScriptCall = tuple[str, Sequence[str], Sequence[str | int]]
"""Lua source, keys, arguments. In a Redis Cluster one call may name one key, or keys of one slot."""


class Cache:
    """One process's view of Redis. ``enabled`` is False when there is none, or while the breaker is open."""

    def __init__(self, settings: Settings, warn: Callable[[str], None]) -> None:
        """Raises ConfigError for a URL that is none."""
        self._target = redis_target(settings) if settings.redis_configured else None
        self._prefix: str = settings["redis.prefix"]
        self._breaker = Breaker(settings["redis.pause"], warn)
        self.counters = Counters()
        """``seats.hits``, ``seats.misses``, ``routes.hits``, ``routes.misses``; ``trips`` of the breaker."""
        self._wire: Wire | None = None

    @property
    def configured(self) -> bool:
        return self._target is not None

    @property
    def enabled(self) -> bool:
        return self.configured and self._breaker.closed()

    def renew(self) -> None:
        """For another command of the same process, which has a user to be told anew that Redis is left alone."""
        self._breaker.renew()

    def close(self) -> None:
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    def key(self, name: str) -> str:
        return self._prefix + name

    def wire(self, timeout: float = CALL_TIMEOUT) -> Wire:
        """A way to Redis of one's own. Raises ConfigError for certificates that cannot be used."""
        from flightctl.core.redis_wire import make_wire

        assert self._target is not None
        return make_wire(self._target, timeout)

    @property
    def sharded(self) -> bool:
        """Whether a script may touch one key alone."""
        return self._connected().sharded

    def call(self, work: Callable[[Wire, float], Any], *, patience: float = 0.0) -> Any:
        """What ``work`` returns of the wire and its deadline; None when Redis is off or fails.

        ``patience``: seconds that it waits on purpose.
        """
        if not self.enabled:
            return None
        wire = self._connected()
        started = time.monotonic()
        try:
            result = work(wire, self._breaker.deadline() + patience)
        except Exception as error:  # noqa: BLE001 - whatever a client does with rubbish, a use case goes on without it
            self._breaker.trip(error)
            self._leave_alone(wire)
            return None
        if not self._breaker.answered(time.monotonic() - started - patience):
            self._leave_alone(wire)
        return result

    def _leave_alone(self, wire: Wire) -> None:
        self.counters.add("trips")
        wire.close()

    def ask(self, *commands: Command) -> list[Any] | None:
        """The answers, all in one round trip; None on failure."""
        answers: list[Any] | None = self.call(lambda wire, deadline: accepted(wire.ask(commands, deadline)))
        return answers

    def script(self, calls: Sequence[ScriptCall]) -> list[Any] | None:
        """Results of Lua calls, all in one round trip; None on failure."""

        def run(wire: Wire, deadline: float) -> list[Any]:
            from redis.exceptions import NoScriptError

            results = wire.ask([_evaluation(call, by_hash=True) for call in calls], deadline)
            lost = [position for position, result in enumerate(results) if isinstance(result, NoScriptError)]
            if lost:  # Redis restarted, was flushed, or has a new master
                again = wire.ask([_evaluation(calls[position], by_hash=False) for position in lost], deadline)
                for position, result in zip(lost, again, strict=True):
                    results[position] = result
            return accepted(results)

        result: list[Any] | None = self.call(run)
        return result

    def publications(self, counts: Mapping[str, SeatCount]) -> list[ScriptCall]:
        """The script calls that publish ``counts``; the locks send them together with their release."""
        keys = self._seat_keys(counts)
        values = [f"{count.seats}:{count.version}" for count in counts.values()]
        if self.sharded:
            return [(_PUBLISH, [key], [SEATS_SECONDS, value]) for key, value in zip(keys, values, strict=True)]
        return [(_PUBLISH, keys, [SEATS_SECONDS, *values])] if keys else []

    def publish_seats(self, counts: Mapping[str, SeatCount]) -> None:
        items = list(counts.items())
        for start in range(0, len(items), _BATCH):
            if not self.enabled or self.script(self.publications(dict(items[start : start + _BATCH]))) is None:
                return

    def publish_schedule_version(self, version: int) -> None:
        self.script([(_PUBLISH, [self.key("schedule:version")], [SEATS_SECONDS, str(version)])])

    def forget_seats(self, flight_ids: Sequence[str]) -> None:
        keys = self._seat_keys(flight_ids)
        self.ask(*(Command(("DEL", key), key) for key in keys))

    def seat_counts(self, flight_ids: Sequence[str]) -> dict[str, SeatCount]:
        """The counts that Redis knows; flights it does not know are missing."""
        known = self._known_counts(flight_ids, _COUNTS)
        return {flight_id: SeatCount(int(seats), int(version)) for flight_id, (seats, version) in known if seats}

    def seats(self, flight_ids: Sequence[str]) -> dict[str, int]:
        """As ``seat_counts``, without the versions."""
        return {flight_id: int(seats) for flight_id, seats in self._known_counts(flight_ids, _SEATS) if seats}

    def _known_counts(self, flight_ids: Sequence[str], shape: re.Pattern[bytes]) -> Iterator[tuple[str, Any]]:
        """Flights and what ``shape`` finds in their values: groups, empty where the value is no count."""
        hits = 0
        for start in range(0, len(flight_ids), _BATCH):
            batch = flight_ids[start : start + _BATCH]
            values = self._values(self._seat_keys(batch))
            if values is None:
                break
            found = shape.findall(b"\n".join([value if isinstance(value, bytes) else b"" for value in values]))
            if len(found) == len(batch):  # else a value has lines of its own, and no line tells any more whose it is
                hits += len(batch) - found.count(b"") - found.count((b"", b""))
                yield from zip(batch, found, strict=True)
        self.counters.add("seats.hits", hits)
        self.counters.add("seats.misses", len(flight_ids) - hits)

    def _values(self, keys: Sequence[str]) -> list[Any] | None:
        """One value for each key; a cluster takes no MGET of keys in different slots."""
        if not self.enabled:
            return None
        if self.sharded:
            found: list[Any] | None = self.call(
                # A key of a wrong type is a miss here as it is for MGET.
                lambda wire, deadline: accepted(
                    wire.ask([Command(("GET", key), key) for key in keys], deadline), misses=True
                )
            )
            return found
        answers = self.ask(Command(("MGET", *keys), keys[0]))
        values = answers[0] if answers else None
        return values if isinstance(values, list) and len(values) == len(keys) else None

    def known_flights(self) -> list[str]:
        """Flights whose counts Redis holds now (SCAN: Redis serves others meanwhile)."""
        start, end = self.key("flight:"), ":seats"
        found: list[bytes] | None = self.call(
            lambda wire, deadline: list(scan(wire, re.sub(r"([*?\[\]\\])", r"\\\1", start) + "*" + end, deadline))
        )
        return [key.decode("utf-8", "replace")[len(start) : -len(end)] for key in found or []]

    def routes(self, source: str, destination: str, days: Sequence[date]) -> list[RouteEntry] | None:
        """An entry for each day, all in one round trip."""
        keys = [self._route_key(source, destination, day) for day in days]
        version_key = self.key("schedule:version")
        commands = [*(Command(("GET", key), key) for key in keys), Command(("GET", version_key), version_key)]

        def run(wire: Wire, deadline: float) -> list[RouteEntry]:
            answers = wire.ask([*commands, Command(("TIME",))], deadline)
            *found, version, time_ = accepted(answers, misses=True)
            known = _VERSION.fullmatch(version) if isinstance(version, bytes) else None
            at, now = int(known[0]) if known else None, _microseconds(time_)
            return [RouteEntry(routes if isinstance(routes, bytes) else None, at, now) for routes in found]

        entries: list[RouteEntry] | None = self.call(run)
        hits = sum(entry.routes is not None for entry in entries or ())
        self.counters.add("routes.hits", hits)
        self.counters.add("routes.misses", len(days) - hits)
        return entries

    def put_route(self, source: str, destination: str, day: date, value: bytes, version: int, seconds: int) -> None:
        """Keep the routes' bytes for so long, and publish the schedule's version that they are of."""
        key = self._route_key(source, destination, day)
        publication: ScriptCall = _PUBLISH, [self.key("schedule:version")], [SEATS_SECONDS, str(version)]
        # The script as text and not by its hash: a Redis that does not know it yet is no reason for another round trip.
        self.ask(Command(("SET", key, value, "EX", seconds), key), _evaluation(publication, by_hash=False))

    def clock(self) -> int | None:
        """Redis's clock, microseconds since the epoch."""
        now: int | None = self.call(
            lambda wire, deadline: _microseconds(accepted(wire.ask([Command(("TIME",))], deadline))[0])
        )
        return now

    def ping(self) -> bool:
        """Whether every server that holds keys answers."""

        def run(wire: Wire, deadline: float) -> bool:
            servers = wire.servers(deadline)
            answers = accepted(wire.ask([Command(("PING",), node=server) for server in servers], deadline))
            return all(answer == b"PONG" for answer in answers)

        return self.call(run) is True

    def info(self) -> dict[str, str]:
        """What a server of it says of itself (INFO), for `doctor`; empty when it says nothing."""

        def run(wire: Wire, deadline: float) -> Any:
            return accepted(wire.ask([Command(("INFO",), node=wire.servers(deadline)[0])], deadline))[0]

        text = self.call(run)
        lines = text.decode("utf-8", "replace").splitlines() if isinstance(text, bytes) else []
        return {name: value for name, colon, value in (line.partition(":") for line in lines) if colon}

    def takes_writes(self) -> bool:
        """Whether a key can be set, as a lock is: a full Redis, a replica and a user without the right refuse it."""
        key = self.key("inventory:lock:doctor")
        return self.ask(Command(("SET", key, "1", "PX", _TRIAL_MS), key)) == [b"OK"]

    def _seat_keys(self, flight_ids: Iterable[str]) -> list[str]:
        start = self.key("flight:")
        return [f"{start}{flight_id}:seats" for flight_id in flight_ids]

    def _route_key(self, source: str, destination: str, day: date) -> str:
        return self.key(f"routes:{source}:{destination}:{day.isoformat()}")

    def _connected(self) -> Wire:
        if self._wire is None:
            self._wire = self.wire()
        return self._wire


def scan(wire: Wire, pattern: str, deadline: float) -> Iterator[bytes]:
    """The keys that match a glob, on every server."""
    for server in wire.servers(deadline):
        cursor: bytes | int = 0
        while True:
            command = Command(("SCAN", cursor, "MATCH", pattern, "COUNT", _BATCH), node=server)
            [(cursor, keys)] = accepted(wire.ask([command], deadline))
            yield from keys
            if int(cursor) == 0:
                break


def _evaluation(call: ScriptCall, *, by_hash: bool) -> Command:
    source, keys, arguments = call
    head = ("EVALSHA", _hash(source)) if by_hash else ("EVAL", source)
    return Command((*head, len(keys), *keys, *arguments), keys[0])


@lru_cache
def _hash(source: str) -> str:
    from hashlib import sha1

    return sha1(source.encode(), usedforsecurity=False).hexdigest()


def _microseconds(answer: Any) -> int:
    seconds, micros = answer
    return int(seconds) * 1_000_000 + int(micros)
