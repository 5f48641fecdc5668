"""The queue for a flight in Redis: handed over in order, and never stuck with whoever died in it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from flightctl.core import locks
from flightctl.core.locks import InventoryLocks
from tests.concurrency.conftest import on
from tests.concurrency.crash import until
from tests.concurrency.support import M, World, Z

pytestmark = [on("mysql+redis")]

LOCK = f"inventory:lock:{Z}"
WAKE, WAITING = (f"inventory:{kind}:{{{LOCK}}}" for kind in ("wake", "waiting"))


@pytest.fixture(autouse=True)
def empty(world: World) -> None:
    assert world.redis is not None
    world.redis.flushdb()


def _locks(world: World) -> InventoryLocks:
    return world.runtime().locks


def _until_asleep(world: World, waiters: int) -> None:
    until(lambda: world.redis.info("clients")["blocked_clients"] == waiters)


@contextmanager
def _waiter(locks_: InventoryLocks, name: str, order: list[str]) -> Iterator[None]:
    def work() -> None:
        with locks_.hold([Z]):
            order.append(name)

    thread = threading.Thread(target=work)
    thread.start()
    yield
    thread.join()


def test_who_waits_gets_it_in_order_and_the_last_leaves_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "WAIT_SECONDS", 10.0)
    order: list[str] = []
    one, two, three = (_locks(world) for _ in range(3))
    with ExitStack() as waiting, one.hold([Z]):
        for asleep, (other, name) in enumerate([(two, "two"), (three, "three")], 1):
            waiting.enter_context(_waiter(other, name, order))
            _until_asleep(world, asleep)
        order.append("one")
    assert order == ["one", "two", "three"]
    assert [each.counters["missed"] for each in (one, two, three)] == [0, 0, 0]
    assert world.redis.exists(LOCK, WAKE) == 0
    assert int(world.redis.get(WAITING) or 0) == 0


def test_a_baton_that_nobody_took_goes_to_the_next(world: World) -> None:
    """Somebody registered and died: the lock is not stuck with it."""
    world.redis.set(WAITING, 1, px=1000)
    with _locks(world).hold([Z]):
        pass
    assert world.redis.get(LOCK) == world.redis.lindex(WAKE, 0) is not None
    assert 0 < world.redis.pttl(LOCK) <= 5000
    assert 0 < world.redis.pttl(WAKE) <= 5000
    next_ = _locks(world)
    with next_.hold([Z, M]):
        assert world.redis.exists(f"inventory:lock:{M}")
    assert next_.counters["missed"] == 0


def test_a_baton_of_a_lock_that_has_gone_is_worth_nothing(world: World) -> None:
    """And who gives up waiting is not counted among the waiters any more."""
    world.redis.rpush(WAKE, "old")
    one, two = _locks(world), _locks(world)
    with one.hold([Z]), two.hold([Z]):
        assert two.counters["missed"] == 1
        assert int(world.redis.get(WAITING) or 0) == 0
    assert world.redis.exists(LOCK) == 0
