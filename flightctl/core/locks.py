"""Inventory locks in Redis: they order the queue for a flight and spare conflicts. They are never the guard.

A lock is ``inventory:lock:<flight id>`` with its owner's token and an expiry. Who finds it taken registers in
``inventory:waiting:{<lock>}`` and sleeps on the list ``inventory:wake:{<lock>}``. A release with somebody registered
hands the lock over: it puts a new token, the baton, into the lock and into the list, where Redis gives it to the one
that has slept longest. So waiting costs no polling, nobody overtakes, and the winner need not ask again (one hot
flight, 16 clients: 3 calls a booking instead of the 9 of a wake-up that only says "try again"). A baton that nobody
takes goes to the next who waits, or expires with the lock.

The braces in those names are meant: they put a lock's keys into one slot of a Redis Cluster, so that one script may
touch them. After ``WAIT_SECONDS`` the work goes on without the lock; the database's conditional UPDATE is what prevents
overbooking.
"""

import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from flightctl.core.cache import Cache, ScriptCall, SeatCount
from flightctl.core.counters import Counters
from flightctl.core.redis_commands import Command, Wire, accepted

EXPIRY_MS: Final = 5000
WAIT_SECONDS: Final = 0.4
"""Of the 0.5 s that may be waited, a hanging Redis takes the rest."""
_WAITING_MS: Final = 1000
"""Longer than anybody waits: who died waiting is forgotten after it."""

# KEYS: lock, list and register of each flight, in sorted order. Takes the locks up to the first that somebody else
# holds, registers for that one and answers its position; 0 when it has them all. Asked twice it answers the same.
_ACQUIRE: Final = """
for i = 1, #KEYS, 3 do
  if redis.call('EXISTS', KEYS[i]) == 0 then
    redis.call('SET', KEYS[i], ARGV[1], 'PX', ARGV[2])
    redis.call('DEL', KEYS[i + 1])
  elseif redis.pcall('GET', KEYS[i]) ~= ARGV[1] then
    redis.pcall('INCR', KEYS[i + 2])
    redis.call('PEXPIRE', KEYS[i + 2], ARGV[3])
    return (i + 2) / 3
  end
end
return 0
"""
# KEYS as before; ARGV: the expiry, then for each lock its owner's token and the baton. Only the owner's are released.
_RELEASE: Final = """
for i = 1, #KEYS, 3 do
  local n = (i - 1) / 3 * 2
  if redis.call('GET', KEYS[i]) == ARGV[n + 2] then
    if (tonumber(redis.pcall('GET', KEYS[i + 2])) or 0) > 0 then
      redis.call('DECR', KEYS[i + 2])
      redis.call('SET', KEYS[i], ARGV[n + 3], 'PX', ARGV[1])
      redis.call('DEL', KEYS[i + 1])
      redis.call('RPUSH', KEYS[i + 1], ARGV[n + 3])
      redis.call('PEXPIRE', KEYS[i + 1], ARGV[1])
    else
      redis.call('DEL', KEYS[i])
    end
  end
end
return 1
"""
# KEYS: one lock's. Who gives up waiting leaves the register, unless the baton has come at the last moment: it is the
# answer then.
_LEAVE: Final = """
local baton = redis.call('LPOP', KEYS[2])
if baton and baton == redis.pcall('GET', KEYS[1]) then return baton end
if (tonumber(redis.pcall('GET', KEYS[3])) or 0) > 0 then redis.call('DECR', KEYS[3]) end
return false
"""


class Held:
    """What a lock holder leaves behind: ``publish`` the new counts after the commit, before the release."""

    def __init__(self) -> None:
        self.counts: dict[str, SeatCount] = {}

    def publish(self, counts: Mapping[str, SeatCount]) -> None:
        self.counts.update(counts)


class InventoryLocks:
    """Locks on flights, where Redis is there and ``locking`` is ``redis``; otherwise only the publishing of counts."""

    def __init__(self, cache: Cache, *, wanted: bool) -> None:
        self._cache = cache
        self._wanted = wanted
        self._waiting: Wire | None = None
        self.counters = Counters()
        """``waits`` for a release and their ``wait_seconds``; ``missed``: work that went on without a lock."""

    @contextmanager
    def hold(self, flight_ids: Sequence[str]) -> Iterator[Held]:
        """Hold the flights' locks, or go on without; on the way out publish counts, then release.

        Both in one round trip where Redis is one server.
        """
        held = Held()
        tokens: dict[str, str] = {}
        if self._wanted and self._cache.enabled:
            ids = sorted(set(flight_ids))
            tokens = self._acquire(ids)
            self.counters.add("missed", int(len(tokens) < len(ids)))
        try:
            yield held
        finally:
            if self._cache.enabled:
                counts, releases = self._cache.publications(held.counts), self._releases(tokens)
                for calls in (counts, releases) if self._cache.sharded else (counts + releases,):
                    if calls:
                        self._cache.script(calls)

    def _acquire(self, flight_ids: list[str]) -> dict[str, str]:
        """The owner's token of each lock that was to be had in time.

        Sorted flights, a later one asked for only once the earlier ones are held: no two wait for each other.
        """
        tokens: dict[str, str] = {}
        deadline = time.monotonic() + WAIT_SECONDS
        token = secrets.token_hex(12)
        while rest := flight_ids[len(tokens) :]:
            asked = rest[:1] if self._cache.sharded else rest
            keys = [key for flight_id in asked for key in self._keys(flight_id)]
            answer = self._cache.script([(_ACQUIRE, keys, [token, EXPIRY_MS, _WAITING_MS])])
            taken = answer[0] if answer else None
            if not isinstance(taken, int) or not 0 <= taken <= len(asked):
                break
            tokens.update(dict.fromkeys(asked[: taken - 1] if taken else asked, token))
            if taken:
                baton = self._wait(asked[taken - 1], deadline - time.monotonic())
                if baton is None:
                    break
                tokens[asked[taken - 1]] = baton
        return tokens

    def _releases(self, tokens: Mapping[str, str]) -> list[ScriptCall]:
        calls: list[ScriptCall] = [
            (_RELEASE, self._keys(flight_id), [EXPIRY_MS, token, secrets.token_hex(12)])
            for flight_id, token in tokens.items()
        ]
        if self._cache.sharded or len(calls) < 2:
            return calls
        keys = [key for _, keys, _ in calls for key in keys]
        return [(_RELEASE, keys, [EXPIRY_MS, *(word for _, _, arguments in calls for word in arguments[1:])])]

    def _keys(self, flight_id: str) -> list[str]:
        lock = self._cache.key(f"inventory:lock:{flight_id}")
        return [lock, *(self._cache.key(f"inventory:{kind}:{{{lock}}}") for kind in ("wake", "waiting"))]

    def _wait(self, flight_id: str, seconds: float) -> str | None:
        """Sleep until the lock is handed over; its baton, or None when that took too long or Redis failed."""
        keys = self._keys(flight_id)
        # Sub-second timeouts of BLPOP need Redis 6, which looks at them every 100 ms: its nil must come before the
        # socket's own timeout, which bounds a hanging server and would count as a failure.
        command = Command(("BLPOP", keys[1], str(max(0.001, round(seconds - 0.15, 3)))), keys[1])

        def wait(_wire: Wire, deadline: float) -> Any:
            if self._waiting is None:
                self._waiting = self._cache.wire(timeout=WAIT_SECONDS)
            [answer] = accepted(self._waiting.ask([command], deadline))
            return () if answer is None else answer

        began = time.monotonic()
        answer = self._cache.call(wait, patience=max(0.0, seconds))
        self.counters.add("waits")
        self.counters.add("wait_seconds", time.monotonic() - began)
        if answer == ():
            left = self._cache.script([(_LEAVE, keys, [])])
            answer = (keys[1], left[0]) if left else None
        baton = answer[1] if isinstance(answer, list | tuple) and len(answer) == 2 else None
        return baton.decode("ascii", "replace") if isinstance(baton, bytes) else None
