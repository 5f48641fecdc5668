"""What a process counts of itself, for the daemon's metrics."""

from __future__ import annotations

import threading

import pytest

from flightctl.core.database import Conflict, Transaction
from tests.builders import World
from tests.faults import free_port

SERVER = pytest.mark.parametrize("backend", ["mysql+redis"], indirect=True)
ANY = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)


@ANY
def test_transactions_that_run_again_are_counted(world: World) -> None:
    database = world.runtime.database
    before = database.counters["retries.conflict"]
    tries = []

    def work(_tx: Transaction) -> None:
        tries.append(1)
        if len(tries) < 3:
            raise Conflict

    database.run(work)
    assert database.counters["retries.conflict"] - before == 2
    assert database.counters["retries.connection"] == 0


@SERVER
def test_hits_and_misses_of_the_cache_are_counted(world: World) -> None:
    cache = world.runtime.cache
    world.line()
    world.search("DEL", "BLR")
    assert (cache.counters["routes.hits"], cache.counters["routes.misses"]) == (0, 1)
    assert (cache.counters["seats.hits"], cache.counters["seats.misses"]) == (0, 2)
    world.search("DEL", "BLR")
    assert (cache.counters["routes.hits"], cache.counters["routes.misses"]) == (1, 1)
    assert (cache.counters["seats.hits"], cache.counters["seats.misses"]) == (2, 2)
    assert cache.counters["trips"] == 0


@SERVER
def test_trips_of_the_breaker_are_counted(world: World) -> None:
    cache = world.another(FLIGHTCTL_REDIS_URL=f"redis://127.0.0.1:{free_port()}/0").cache
    assert cache.seat_counts(["F1"]) == {}
    assert cache.seat_counts(["F1"]) == {}, "left alone"
    assert cache.counters["trips"] == 1
    assert not cache.enabled


@SERVER
def test_waits_for_a_flights_lock_are_counted(world: World) -> None:
    locks = world.runtime.locks
    other = world.another().locks
    with locks.hold(["F1"]):
        waiter = threading.Thread(target=lambda: other.hold(["F1"]).__enter__())
        waiter.start()
        waiter.join()
    assert locks.counters["waits"] == locks.counters["missed"] == 0
    assert other.counters["waits"] >= 1
    assert other.counters["wait_seconds"] > 0
    assert other.counters["missed"] == 1
