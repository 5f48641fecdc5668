"""Redis Cluster and Sentinel: everything works across slots; a failover costs time that is bounded, and nothing else."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flightctl.core.audit import audit
from flightctl.core.cache import SeatCount
from flightctl.core.model.itineraries import SearchRequest
from flightctl.core.precompute import precompute
from flightctl.core.runtime import Runtime
from flightctl.core.search import search
from tests.checker import violations
from tests.concurrency import crew as acts
from tests.concurrency.crew import Crew, Job, codes
from tests.concurrency.support import ZM, ZMA, A, M, World, Z, before_first, outcome, recover, warnings
from tests.conftest import Backend, _private
from tests.servers import RedisCluster, RedisSentinel

DAY = "2099-12-01"
BOUND = 1.5
"""Seconds that a booking may take in mid-failover: 0.5 for Redis, the rest for a machine with much else to do."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    yield from _private(lambda: RedisCluster(tmp_path_factory.mktemp("cluster")))


@pytest.fixture
def sentinel(tmp_path: Path) -> Iterator[RedisSentinel]:
    yield from _private(lambda: RedisSentinel(tmp_path / "sentinel"))


def _world(database_url: str, redis_url: str) -> World:
    warnings.clear()
    return World(Backend("mysql+redis", database_url, redis_url), FLIGHTCTL_REDIS_PAUSE="1s")


@pytest.fixture
def on_cluster(migrated_mysql_url: str, cluster: RedisCluster) -> Iterator[World]:
    cluster.wait()
    world = _world(migrated_mysql_url, cluster.url)
    yield world
    world.close()


@pytest.fixture
def on_sentinel(migrated_mysql_url: str, sentinel: RedisSentinel) -> Iterator[World]:
    world = _world(migrated_mysql_url, sentinel.url)
    yield world
    world.close()


@pytest.fixture(scope="module")
def crew() -> Iterator[Crew]:
    made = Crew(12)
    yield made
    made.close()


def _use_everything(world: World) -> None:
    """One of each command that uses Redis; what Redis then knows is the truth, and no lock is left."""
    world.fill(seats=9)
    runtime = world.runtime()
    held = [acts.book(runtime, identifier, 2)["booking"] for identifier in (ZMA, ZM, Z)]
    assert world.cache_problems(fresh=True) == []
    assert sorted(world.redis.keys("flight:*:seats")) == sorted(f"flight:{leg}:seats".encode() for leg in (Z, M, A))
    assert world.redis.keys("inventory:lock:*") == []
    for _ in "cold", "warm":
        found = search(world.runtime(), SearchRequest("DEL", "BLR", DAY)).content
        assert [(itinerary.flight_identifier, itinerary.available_seats) for itinerary in found] == [(ZM, 3)]
    assert acts.confirm(runtime, held[0])["changed"]
    assert acts.release(runtime, held[1])["changed"]
    world.lapse(held[2])
    assert acts.sweep(runtime)["bookings"] == 1
    assert precompute(runtime, date=DAY, days=1, top=5).routes > 0
    assert acts.cancel_flight(runtime, Z)["failed"] == []
    assert sorted(runtime.cache.known_flights()) == sorted([Z, M, A])
    assert runtime.cache.seat_counts([Z])[Z].seats == 0
    assert runtime.cache.ping()
    assert audit(runtime, repair=False).violations == ()
    assert (warnings, world.problems(), violations(world.execute)) == ([], [], [])


def test_everything_works_across_slots(on_cluster: World) -> None:
    _use_everything(on_cluster)


def test_everything_works_behind_sentinels(on_sentinel: World) -> None:
    _use_everything(on_sentinel)


def test_one_lock_of_several_is_taken_in_a_cluster(on_cluster: World) -> None:
    """It is waited for, and what was taken before it is released again."""
    on_cluster.fill(seats=9)
    first, taken = sorted((Z, M))
    on_cluster.redis.set(f"inventory:lock:{taken}", "somebody else", px=5000)
    acts.book(on_cluster.runtime(), ZM, 1)
    assert on_cluster.redis.get(f"inventory:lock:{taken}") == b"somebody else"
    assert on_cluster.redis.exists(f"inventory:lock:{first}") == 0
    assert on_cluster.cache_problems(fresh=True) == []


def test_a_slot_that_moves_is_followed(on_cluster: World, cluster: RedisCluster) -> None:
    """MOVED: a failover on purpose, while a process knows the old map."""
    on_cluster.fill(seats=9)
    runtime = on_cluster.runtime()
    acts.book(runtime, Z, 1)
    key = f"inventory:lock:{Z}"
    before = cluster.master_of(key)
    replica = next(
        node for node in cluster.nodes if b"myself,slave" in node.cluster("NODES") and _follows(node, before)
    )
    replica.cluster("FAILOVER")
    deadline = time.monotonic() + 20
    while cluster.master_of(key) is before:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    acts.book(runtime, Z, 1)
    assert on_cluster.redis.get(f"flight:{Z}:seats").startswith(b"7:")
    assert warnings == []


def test_a_slot_on_its_way_is_asked_for_where_it_goes(on_cluster: World, cluster: RedisCluster) -> None:
    """ASK: its old node has not got the key, and its new one takes it only from who was sent."""
    on_cluster.fill(seats=9)
    cache = on_cluster.runtime().cache
    key = f"flight:{Z}:seats"
    old = cluster.master_of(key)
    new = next(node for node in cluster.nodes if b"myself,master" in node.cluster("NODES") and node is not old)
    slot = old.cluster("KEYSLOT", key)
    new.cluster("SETSLOT", slot, "IMPORTING", old.cluster("MYID"))
    old.cluster("SETSLOT", slot, "MIGRATING", new.cluster("MYID"))
    try:
        cache.publish_seats({Z: SeatCount(4, time.time_ns() // 1000)})
        assert cache.seat_counts([Z, M, A])[Z].seats == 4
        with old.client() as client:
            assert client.execute_command("CLUSTER", "COUNTKEYSINSLOT", slot) == 0
        cache.forget_seats([Z])
        assert cache.seat_counts([Z]) == {}
    finally:
        for node in old, new:
            node.cluster("SETSLOT", slot, "STABLE")
    assert warnings == []


def _follows(node: Any, master: Any) -> bool:
    with node.client() as client:
        return bool(client.info("replication")["master_port"] == master.port)


def _storm(world: World, crew: Crew, disaster: Any) -> list[Any]:
    """Three rounds of twelve buyers; the disaster strikes in the middle of the first."""
    flights = [Z, M, A, ZM]
    outcomes = []
    striking = threading.Timer(0.03, disaster)
    for number in range(3):
        jobs = [
            Job("book", world.env, {"identifier": flights[(number + position) % 4], "seats": 1, "user": f"u{position}"})
            for position in range(12)
        ]
        if not number:
            striking.start()
        outcomes += crew.run(jobs)
    striking.join()
    return outcomes


def _weathered(world: World, outcomes: list[Any], seats: int) -> None:
    assert set(codes(outcomes)) <= {"done", "NO_SEATS_AVAILABLE"}, [o for o in outcomes if o.code.startswith("BUG")]
    assert codes(outcomes)["done"] >= seats
    assert max(each.took for each in outcomes) < BOUND
    assert violations(world.execute) == []
    assert world.problems() == []


def _back(world: World) -> Runtime:
    """A runtime for which Redis is there again; within the time that a failover takes."""
    runtime = world.runtime(FLIGHTCTL_REDIS_PAUSE="0s")
    deadline = time.monotonic() + 20
    while not runtime.cache.ping():
        assert time.monotonic() < deadline, "no failover"
        time.sleep(0.1)
    return runtime


def test_a_master_is_killed_in_mid_storm(on_cluster: World, cluster: RedisCluster, crew: Crew) -> None:
    on_cluster.fill(seats=9)
    victim = cluster.master_of(f"inventory:lock:{Z}")
    outcomes = _storm(on_cluster, crew, victim.kill)
    runtime = _back(on_cluster)  # a quick storm is over before the failover, and the checks ask every master
    _weathered(on_cluster, outcomes, 9)
    recover(on_cluster, runtime)
    assert on_cluster.available(Z) == 9 - int(
        on_cluster.value(
            "SELECT COUNT(*) FROM bookings b JOIN booking_flights l "
            "ON l.booking_id = b.booking_id WHERE b.status = 'CONFIRMED' AND l.flight_id = %s",
            (Z,),
        )
    )
    runtime.cache.publish_seats({Z: SeatCount(9, time.time_ns() // 1000)})
    assert runtime.cache.seat_counts([Z])[Z].seats == 9, "the new master takes what the old one had"
    victim.start()


def test_the_master_is_killed_in_mid_storm_under_sentinels(
    on_sentinel: World, sentinel: RedisSentinel, crew: Crew
) -> None:
    on_sentinel.fill(seats=9)
    outcomes = _storm(on_sentinel, crew, sentinel.master.kill)
    sentinel.wait_for_failover()
    runtime = _back(on_sentinel)
    _weathered(on_sentinel, outcomes, 9)
    acts.cancel_flight(runtime, Z)
    assert runtime.cache.seat_counts([Z])[Z].seats == 0


def test_two_holders_of_one_lock_oversell_nothing(on_sentinel: World, sentinel: RedisSentinel) -> None:
    """The replica never heard of the lock, and becomes the master: a second buyer gets it while the first acts.

    Both want the last seat. Guard: the UPDATE that tests for seats, in the database; the lock guards nothing.
    """
    on_sentinel.fill(seats=1)
    one, two = on_sentinel.runtime(), on_sentinel.runtime()
    key = f"inventory:lock:{Z}"
    owners: list[bytes | None] = []

    def second_buyer() -> None:
        with sentinel.master.client() as client:
            owners.append(client.get(key))
        sentinel.master.kill()
        sentinel.replica.resume()
        sentinel.wait_for_failover()
        with before_first(two.database, "send", look_at_lock):
            assert outcome(acts.book, two, Z, 1) == "done"

    def look_at_lock() -> None:
        with sentinel.replica.client() as client:
            owners.append(client.get(key))

    one.database.read(lambda tx: tx)
    sentinel.replica.pause()
    with before_first(one.database, "send", second_buyer):
        assert outcome(acts.book, one, Z, 1) == "NO_SEATS_AVAILABLE"
    first, second = owners
    assert first is not None
    assert second is not None
    assert first != second
    assert on_sentinel.available(Z) == 0
    assert violations(on_sentinel.execute) == []
