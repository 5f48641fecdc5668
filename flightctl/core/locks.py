"""Inventory locks in Redis: they order the queue for a flight and spare conflicts. They are never the guard.

A lock is ``inventory:lock:{flight id}`` with its owner's token and an expiry. Who finds it taken sleeps on the list
``inventory:wake:{flight id}``, which a release feeds: waiting costs no polling. After ``WAIT_SECONDS`` the work goes on
without the lock; the database's conditional UPDATE is what prevents overbooking.
"""

import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from flightctl.core.cache import Cache, SeatCount, connect
from flightctl.core.counters import Counters

if TYPE_CHECKING:
    from redis import Redis

EXPIRY_MS: Final = 5000
WAIT_SECONDS: Final = 0.4
"""Of the 0.5 s that may be waited, a hanging Redis takes the rest."""
_WAKE_MS: Final = 1000

# All locks or none: answers 0, or the position of the first that somebody else holds.
_ACQUIRE: Final = """
for i, key in ipairs(KEYS) do
  if redis.call('EXISTS', key) == 1 then return i end
end
for _, key in ipairs(KEYS) do redis.call('SET', key, ARGV[1], 'PX', ARGV[2]) end
return 0
"""
# KEYS: the locks, then their wake lists. Only the owner's are deleted; one waiter of each is woken.
_RELEASE: Final = """
local n = #KEYS / 2
for i = 1, n do
  if redis.call('GET', KEYS[i]) == ARGV[1] then
    redis.call('DEL', KEYS[i])
    if redis.call('LLEN', KEYS[n + i]) == 0 then redis.call('RPUSH', KEYS[n + i], '1') end
    redis.call('PEXPIRE', KEYS[n + i], ARGV[2])
  end
end
return 1
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
        self._waiting: Redis | None = None
        self.counters = Counters()
        """``waits`` for a release and their ``wait_seconds``; ``missed``: work that went on without the lock."""

    @contextmanager
    def hold(self, flight_ids: Sequence[str]) -> Iterator[Held]:
        """Hold the flights' locks, or go on without; on the way out publish counts and release, in one round trip."""
        held = Held()
        token = None
        if self._wanted and self._cache.enabled:
            token = self._acquire(sorted(set(flight_ids)))
            self.counters.add("missed", int(token is None))
        try:
            yield held
        finally:
            calls: list[tuple[str, Sequence[str], Sequence[str | int]]] = []
            if held.counts:
                calls.append(self._cache.publication(held.counts))
            if token:
                ids = sorted(set(flight_ids))
                calls.append((_RELEASE, self._keys("lock", ids) + self._keys("wake", ids), [token, _WAKE_MS]))
            if calls and self._cache.enabled:
                self._cache.script(calls)

    def _keys(self, kind: str, flight_ids: Sequence[str]) -> list[str]:
        return [self._cache.key(f"inventory:{kind}:{flight_id}") for flight_id in flight_ids]

    def _acquire(self, flight_ids: list[str]) -> str | None:
        """The owner's token, or None when the locks were not to be had in time."""
        token = secrets.token_hex(12)
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            answer = self._cache.script([(_ACQUIRE, self._keys("lock", flight_ids), [token, EXPIRY_MS])])
            if answer is None:
                return None
            if answer[0] == 0:
                return token
            left = deadline - time.monotonic()
            taken = answer[0] if isinstance(answer[0], int) and 0 < answer[0] <= len(flight_ids) else None
            if taken is None or left <= 0 or not self._sleep(flight_ids[taken - 1], left):
                return None

    def _sleep(self, flight_id: str, seconds: float) -> bool:
        """Wait for the holder's release; False when Redis failed."""
        key = self._cache.key(f"inventory:wake:{flight_id}")
        began = time.monotonic()

        def wait(_client: "Redis") -> bool:
            if self._waiting is None:
                self._waiting = connect(self._cache.url, timeout=WAIT_SECONDS)
            # Sub-second timeouts of BLPOP need Redis 6, which looks at them every 100 ms: its nil must come before the
            # socket's own timeout, which bounds a hanging server and would count as a failure.
            self._waiting.blpop([key], timeout=max(0.001, round(seconds - 0.15, 3)))
            return True

        woken = self._cache.call(wait, patience=seconds) is True
        self.counters.add("waits")
        self.counters.add("wait_seconds", time.monotonic() - began)
        return woken
