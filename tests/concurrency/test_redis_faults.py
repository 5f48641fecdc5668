"""A Redis that is away, slow, full of rubbish or forgetful: every command stays right and loses at most half a second."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from flightctl.core import cache, locks
from flightctl.core.cache import Cache, SeatCount
from flightctl.core.model.itineraries import SearchRequest
from flightctl.core.runtime import Runtime
from flightctl.core.search import search
from tests import faults
from tests.concurrency import crew as acts
from tests.concurrency.conftest import on
from tests.concurrency.support import ZM, World, Z, before_first, warnings
from tests.faults import RubbishRedis, Slow, TcpProxy, free_port

pytestmark = [on("mysql+redis")]

BUDGET = 0.5  # seconds that one command may lose to Redis
BACK = "Redis is back"
MARGIN = 0.15  # for a machine that does other things as well


class Lost:
    """Time spent inside `Cache.call`, however it ends."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds, self.calls = 0.0, 0
        call = Cache.call

        def timed(cache_: Cache, *args: Any, **kwargs: Any) -> Any:
            if not cache_.enabled:
                return call(cache_, *args, **kwargs)
            started = time.monotonic()
            self.calls += 1
            try:
                return call(cache_, *args, **kwargs)
            finally:
                self.seconds += time.monotonic() - started

        monkeypatch.setattr(Cache, "call", timed)

    def reset(self) -> None:
        self.seconds, self.calls = 0.0, 0


@pytest.fixture
def lost(monkeypatch: pytest.MonkeyPatch) -> Lost:
    return Lost(monkeypatch)


def _big(_: list[bytes]) -> bytes:
    return b"$1048576\r\n" + os.urandom(1048576) + b"\r\n"


RUBBISH: dict[str, Any] = {
    "an error of a replica": faults.READONLY,
    "out of memory": faults.OUT_OF_MEMORY,
    "loading": faults.LOADING,
    "no password": faults.NO_AUTH,
    "wrong type": faults.WRONG_TYPE,
    "no RESP at all": faults.random_bytes,
    "hangs up": faults.hang_up,
    "OK to everything": b"+OK\r\n",
    "1 to everything": faults.integer(1),
    "-1 to everything": faults.integer(-1),
    "nil to everything": b"$-1\r\n",
    "an empty list to everything": b"*0\r\n",
    "a list to everything": faults.array([b"1", None, b"\xff"]),
    "a megabyte to everything": _big,
    "slow by 2 s": Slow(2.0),
    "never": faults.HANG,
    "slow by 0.15 s": Slow(0.15, faults.integer(0)),
}


def _each_command(runtime: Callable[[], Runtime], world: World, check: Callable[[str], None]) -> None:
    """One of every command, each by a fresh runtime as a process of its own would have."""
    world.execute("UPDATE flights SET available_seats = total_seats - 0")

    def run(act: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        fresh = runtime()
        result = act(fresh, *args, **kwargs)
        fresh.close()
        check(act.__name__)
        return result

    held = [run(acts.book, ZM, 1)["booking"]]
    held += [acts.book(world.own, ZM, 1)["booking"] for _ in range(5)]
    assert run(acts.confirm, held[0])["changed"]
    assert run(acts.release, held[1])["changed"]
    assert run(acts.callback, held[2])["status"] == "CONFIRMED"
    assert run(acts.callback, held[3], status="FAILURE")["status"] == "FAILED"
    assert run(acts.process, booking=held[4], everything=False)["succeeded"] == 1
    world.lapse(held[5])
    assert run(acts.sweep)["bookings"] == 1
    found = run(search, SearchRequest("DEL", "BLR", "2099-12-01"))
    assert [(itinerary.flight_identifier, itinerary.available_seats) for itinerary in found.content] == [(ZM, 6)]
    assert run(acts.cancel_flight, Z)["failed"] == []
    assert run(search, SearchRequest("DEL", "BLR", "2099-12-01")).content == ()
    assert world.problems() == []


@pytest.fixture
def broken(world: World) -> Iterator[Callable[[str], Callable[[], Runtime]]]:
    """Makes runtimes whose Redis is broken in the way named."""
    stack = ExitStack()

    def make(fault: str) -> Callable[[], Runtime]:
        if fault == "refused":
            url = f"redis://127.0.0.1:{free_port()}/0"
        elif fault == "black hole":
            parts = world.backend.redis_url.removeprefix("redis://").partition("/")[0].rpartition(":")
            proxy = stack.enter_context(TcpProxy(parts[0].rpartition("@")[2], int(parts[2])))
            proxy.blackhole()
            url = proxy.url(world.backend.redis_url)
        else:
            url = stack.enter_context(RubbishRedis(RUBBISH[fault])).url
        # As long a pause as in life: a process is told once and does not ask again.
        return lambda: world.runtime(FLIGHTCTL_REDIS_URL=url, FLIGHTCTL_REDIS_PAUSE="5s")

    with stack:
        yield make


HARMLESS = {"1 to everything", "nil to everything", "OK to everything", "-1 to everything", "a list to everything"}
HARMLESS |= {"an empty list to everything", "a megabyte to everything", "slow by 0.15 s"}


@pytest.mark.parametrize("fault", ["refused", "black hole", *RUBBISH])
def test_every_command_is_right_and_little_slower(
    world: World, broken: Callable[[str], Callable[[], Runtime]], lost: Lost, fault: str
) -> None:
    world.fill(seats=9)
    runtime = broken(fault)

    def check(name: str) -> None:
        warned = [warning for warning in warnings if warning != BACK]
        assert lost.seconds < BUDGET + MARGIN, f"{name} lost {lost.seconds:.2f} s"
        assert len(warned) <= 1, warned
        if fault not in HARMLESS and name != "process":
            assert len(warned) == 1, f"{name} did not warn"
        assert "secret" not in "".join(warnings)
        lost.reset()
        warnings.clear()

    _each_command(runtime, world, check)


def test_rubbish_in_every_key(world: World) -> None:
    """Values nobody here wrote: of other types, too long, from the future; readers take them for misses."""
    assert world.redis is not None
    values: list[Callable[[str], Any]] = [
        lambda key: world.redis.set(key, b"\xff\x00rubbish"),
        lambda key: world.redis.set(key, "-5:-7"),
        lambda key: world.redis.set(key, "99999999999999999999:99999999999999999999"),
        lambda key: world.redis.set(key, ""),
        lambda key: world.redis.set(key, "9:" + "9" * 19),  # a version from a far future
        lambda key: world.redis.lpush(key, "list"),
        lambda key: world.redis.hset(key, "field", "value"),
    ]
    for spoil in values:
        world.fill(seats=9)
        for flight in Z, ZM.rpartition("_")[2]:
            for key in f"flight:{flight}:seats", f"inventory:wake:{{inventory:lock:{flight}}}":
                spoil(key)
        for key in "schedule:version", "routes:DEL:BLR:2099-12-01":
            spoil(key)
        runtime = world.runtime()
        assert acts.book(runtime, ZM, 2)["status"] == "PENDING"
        assert world.available(Z) == 7
        found = search(world.runtime(), SearchRequest("DEL", "BLR", "2099-12-01"))
        assert [(it.flight_identifier, it.available_seats) for it in found.content] == [(ZM, 7)]
    # What was replaced is the truth; what is still rubbish is not ours to say more about.
    acts.sweep(world.runtime())


@pytest.mark.parametrize("kind", ["string", "list"])
def test_a_lock_key_full_of_rubbish_costs_the_wait_and_no_more(world: World, lost: Lost, kind: str) -> None:
    assert world.redis is not None
    world.fill(seats=9)
    key = f"inventory:lock:{Z}"
    world.redis.set(key, "\x00") if kind == "string" else world.redis.lpush(key, "x")
    assert acts.book(world.runtime(), Z, 2)["status"] == "PENDING"
    assert lost.seconds < BUDGET + MARGIN
    assert world.redis.exists(key), "not ours to delete"


@pytest.mark.parametrize("flush", ["flushall", "script_flush"])
def test_redis_emptied_in_mid_flow(world: World, flush: str) -> None:
    """Locks, counts and scripts are gone between the lock and the publishing."""
    assert world.redis is not None
    world.fill(seats=9)
    runtime = world.runtime()
    acts.book(runtime, Z, 1)
    with before_first(runtime.database, "send", getattr(world.redis, flush)):
        acts.book(runtime, Z, 1)
    assert warnings == []
    assert world.cache_problems(fresh=True) == []
    assert world.redis.get(f"flight:{Z}:seats").startswith(b"7:")
    assert world.redis.keys("inventory:lock:*") == []


def test_a_lock_held_by_somebody_dead_is_waited_for_at_most_half_a_second(world: World, lost: Lost) -> None:
    """Guard: locks.WAIT_SECONDS; and the dead one's lock is left to expire."""
    assert world.redis is not None
    world.fill(seats=9)
    world.redis.set(f"inventory:lock:{Z}", "dead", px=5000)
    runtime = world.runtime()
    lost.reset()
    acts.book(runtime, ZM, 1)
    assert 0.25 < lost.seconds < BUDGET + MARGIN
    assert world.redis.get(f"inventory:lock:{Z}") == b"dead"
    assert world.redis.exists(f"inventory:lock:{ZM.rpartition('_')[2]}") == 0
    assert world.cache_problems(fresh=True) == [], "published all the same"
    assert warnings == []


def _lock_changes_hands(world: World) -> bytes | None:
    """Our lock expires in mid-transaction and somebody else gets it; what stands in the key afterwards."""
    assert world.redis is not None
    world.fill(seats=9)
    key = f"inventory:lock:{Z}"
    runtime = world.runtime()

    def change() -> None:
        assert 0 < world.redis.pttl(key) <= 5000
        world.redis.set(key, "somebody else", px=5000)

    with before_first(runtime.database, "send", change):
        acts.book(runtime, Z, 1)
    value = world.redis.get(key)
    assert value is None or isinstance(value, bytes)
    return value


def test_only_the_owner_releases_a_lock(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guard: the comparison with the token in locks._RELEASE; the control without it frees another's lock."""
    assert _lock_changes_hands(world) == b"somebody else"
    unguarded = locks._RELEASE.replace("redis.call('GET', KEYS[i]) == ARGV[n + 2]", "true")
    assert unguarded != locks._RELEASE
    monkeypatch.setattr(locks, "_RELEASE", unguarded)
    assert _lock_changes_hands(world) is None


def _overtaken(world: World) -> list[str]:
    """A commits, B commits and publishes, then A publishes: what is wrong in the cache then."""
    world.fill(seats=9)
    one, two = (world.runtime(FLIGHTCTL_LOCKING="database") for _ in range(2))
    acts.book(one, Z, 1)
    with before_first(one.cache, "script", lambda: acts.book(two, Z, 1)):
        acts.book(one, Z, 1)
    return world.cache_problems(fresh=True)


def test_an_older_count_never_overwrites_a_newer_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guard: the comparison of versions in cache._PUBLISH; the control without it leaves the older count."""
    assert _overtaken(world) == []
    unguarded = cache._PUBLISH.replace("if not known or", "if true or not known or")
    assert unguarded != cache._PUBLISH
    monkeypatch.setattr(cache, "_PUBLISH", unguarded)
    assert _overtaken(world) != []


def test_versions_decide_not_the_order_of_publishing(world: World) -> None:
    assert world.redis is not None
    world.fill(seats=9)
    runtime = world.runtime()
    now = time.time_ns() // 1000
    for seats, version, stands in (5, now, b"5"), (9, now - 1, b"5"), (5, now, b"5"), (3, now + 1, b"3"), (8, 1, b"3"):
        runtime.cache.publish_seats({Z: SeatCount(seats, version)})
        assert world.redis.get(f"flight:{Z}:seats").partition(b":")[0] == stands
        assert 0 < world.redis.ttl(f"flight:{Z}:seats") <= 60


def test_a_long_lived_process_comes_back_to_redis_by_itself(world: World) -> None:
    """Down: one warning, no further tries within the pause. Up again: counts are published again."""
    assert world.redis is not None
    world.fill(seats=9)
    host, _, port = world.backend.redis_url.removeprefix("redis://").partition("/")[0].rpartition("@")[2].partition(":")
    with TcpProxy(host, int(port)) as proxy:
        url = proxy.url(world.backend.redis_url)
        runtime = world.runtime(FLIGHTCTL_REDIS_URL=url, FLIGHTCTL_REDIS_PAUSE="0.5s")
        acts.book(runtime, Z, 1)
        assert world.cache_problems(fresh=True) == []
        proxy.blackhole()
        proxy.cut()
        acts.book(runtime, Z, 1)
        accepted = proxy.accepted
        acts.book(runtime, Z, 1)
        assert proxy.accepted == accepted, "asked again within the pause"
        assert len(warnings) == 1
        proxy.pass_through()
        proxy.cut()
        time.sleep(0.6)
        acts.book(runtime, Z, 1)
        assert world.redis.get(f"flight:{Z}:seats").startswith(b"5:")
        assert world.cache_problems(fresh=True) == []
        assert warnings[1:] == [BACK]
