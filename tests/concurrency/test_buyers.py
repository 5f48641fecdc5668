"""Buyers who want the same seats at the same moment, as processes of their own."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from sqlalchemy import Integer, bindparam, insert, update

from flightctl.core import booking, inventory, reservations
from flightctl.core.runtime import Runtime
from flightctl.core.schema import flights, seat_reservations
from tests.concurrency import crew as acts
from tests.concurrency.conftest import on
from tests.concurrency.crew import Crew, Job, Outcome, codes
from tests.concurrency.support import LEGS, MA, ZM, ZMA, A, M, World, Z
from tests.conftest import Cli


def _book(world: World, identifier: str = Z, **arguments: Any) -> Job:
    return Job("book", world.env, {"identifier": identifier, **arguments})


def _check(world: World, outcomes: list[Outcome]) -> None:
    """Whatever was won or lost: told as it is, nothing half done, and the cache agrees."""
    assert set(codes(outcomes)) <= {"done", "NO_SEATS_AVAILABLE"}, outcomes
    assert world.problems() == []
    assert world.cache_problems(fresh=True) == []
    told = {outcome.value["booking"] for outcome in outcomes if outcome.code == "done"}
    assert told == {row[0] for row in world.execute("SELECT booking_id FROM bookings")}


def test_two_buyers_of_the_last_two_seats(world: World, crew: Crew) -> None:
    for _ in range(5):
        world.fill(seats=2)
        outcomes = crew.run([_book(world, seats=2), _book(world, seats=2)])
        assert codes(outcomes) == {"done": 1, "NO_SEATS_AVAILABLE": 1}
        assert world.available(Z) == 0
        _check(world, outcomes)


def test_twenty_buyers_of_ten_seats(world: World, crew: Crew) -> None:
    for identifier in Z, ZMA:
        world.fill(seats=10)
        outcomes = crew.run([_book(world, identifier) for _ in range(20)])
        assert codes(outcomes) == {"done": 10, "NO_SEATS_AVAILABLE": 10}
        assert [world.available(flight) for flight in LEGS] == [0, 10, 10] if identifier == Z else [0, 0, 0]
        _check(world, outcomes)


def test_overlapping_itineraries_are_all_or_nothing_and_never_a_deadlock(world: World, crew: Crew) -> None:
    """Twenty buyers of six itineraries that share flights; the guard is the sorted order of `inventory.take`."""
    wanted = [Z, M, A, ZM, MA, ZMA]
    for seats in 5, 40:  # scarce, and enough for all
        world.fill(seats=seats)
        outcomes = crew.run([_book(world, wanted[i % 6]) for i in range(20)])
        _check(world, outcomes)
        assert sum(outcome.conflicts for outcome in outcomes) == 0, "sorted order leaves no deadlock to retry"
        if seats == 40:
            assert codes(outcomes) == {"done": 20}
        else:
            assert min(world.available(flight) for flight in LEGS) == 0


@on("mysql", "mysql+redis/database")
def test_control_without_sorted_order_buyers_deadlock(world: World, crew: Crew) -> None:
    """Half of the buyers visit the flights in the opposite order: the server finds deadlocks; retries hide them."""
    conflicts = 0
    for _ in range(10):
        world.fill(seats=40)
        jobs = [
            Job("book_unsorted", world.env, {"identifier": ZMA, "backwards": bool(number % 2)}) for number in range(20)
        ]
        outcomes = crew.run(jobs)
        conflicts += sum(outcome.conflicts for outcome in outcomes)
        assert set(codes(outcomes)) <= {"done", "LOCK_ACQUISITION_FAILED"}
        assert world.problems() == []
        if conflicts:
            break
    assert conflicts, "opposite orders never met"


def test_many_replays_of_one_key_are_one_booking(world: World, crew: Crew) -> None:
    """Guard: the unique index on the key, claimed before the seats."""
    for seats in 1, 10:  # the one booking sells the flight out, or does not
        world.fill(seats=seats)
        outcomes = crew.run([_book(world, ZM, key="order-4711") for _ in range(20)])
        assert codes(outcomes) == {"done": 20}
        assert len({outcome.value["booking"] for outcome in outcomes}) == 1
        assert [outcome.value["replayed"] for outcome in outcomes].count(False) == 1
        assert world.available(Z) == seats - 1
        _check(world, outcomes)


@on("mysql", own=True)
def test_control_without_the_unique_key_replays_book_again(world: World, crew: Crew) -> None:
    world.execute("ALTER TABLE bookings DROP INDEX uq_bookings_idempotency_key")
    most = 0
    for _ in range(10):
        world.fill(seats=20)
        crew.run([_book(world, key="order-4711") for _ in range(20)])
        most = max(most, world.value("SELECT COUNT(*) FROM bookings"))
        if most > 1:
            break
    assert most > 1


def test_one_key_for_two_requests_at_once(world: World, crew: Crew) -> None:
    for _ in range(3):
        world.fill(seats=40)
        jobs = [_book(world, (Z, ZM)[number % 2], key="order-4711") for number in range(20)]
        outcomes = crew.run(jobs)
        assert codes(outcomes) == {"done": 10, "IDEMPOTENCY_MISMATCH": 10}
        winners = {number % 2 for number, outcome in enumerate(outcomes) if outcome.code == "done"}
        assert len(winners) == 1
        assert world.value("SELECT COUNT(*) FROM bookings") == 1
        assert world.problems() == []


def test_a_key_is_free_again_when_its_attempt_was_rolled_back(world: World, crew: Crew) -> None:
    """One key asks for more than there is, many times at once, while the seats come back in the middle."""
    world.fill(seats=1)
    runtime = world.runtime()
    first = acts.book(runtime, Z)["booking"]
    jobs = [Job("release", world.env, {"booking": first}, delay=0.003)]
    outcomes = crew.run(jobs + [_book(world, key="order-4711") for _ in range(19)])
    booked = [outcome for outcome in outcomes[1:] if outcome.code == "done"]
    assert len({outcome.value["booking"] for outcome in booked}) <= 1
    _ = acts.book(runtime, Z, key="order-4711")
    assert world.value("SELECT COUNT(*) FROM bookings") == 2
    assert world.problems() == []


def _two_at_once(world: World, monkeypatch: pytest.MonkeyPatch, seats: int) -> list[Outcome]:
    """Two buyers who have both read the flight as free before either takes."""
    both = threading.Barrier(2, timeout=10)
    claim = booking._claim
    met = threading.local()

    def meeting(*args: Any) -> None:
        if not hasattr(met, "once"):
            met.once = both.wait()
        claim(*args)

    monkeypatch.setattr(booking, "_claim", meeting)
    outcomes: list[Outcome] = []

    def buyer(runtime: Runtime) -> None:
        outcomes.append(acts.perform(runtime, _book(world, seats=seats)))

    threads = [threading.Thread(target=buyer, args=(world.runtime(),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return outcomes


TAKEN_ANYHOW = (
    update(flights)
    .where(flights.c.flight_id == bindparam("id"))
    .values(
        available_seats=flights.c.available_seats - bindparam("n", type_=Integer),
        seat_version=flights.c.seat_version + 1,
    )
)
# The naive way: what was read, less what is bought, is written back. No constraint notices that.
READ_AND_WRITTEN = (
    update(flights)
    .where(flights.c.flight_id == bindparam("id"))
    .values(available_seats=2 - bindparam("n", type_=Integer), seat_version=flights.c.seat_version + 1)
)
HELD_ANYHOW = insert(seat_reservations).values(seats=bindparam("n", type_=Integer))


@on("mysql", "mysql+redis/database")
def test_the_conditional_update_is_the_guard(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guard: `available_seats >= n` in inventory._TAKE; both buyers have seen two seats."""
    world.fill(seats=2)
    outcomes = _two_at_once(world, monkeypatch, seats=2)
    assert codes(outcomes) == {"done": 1, "NO_SEATS_AVAILABLE": 1}
    assert world.problems() == []


@on("mysql", "mysql+redis/database")
def test_control_without_the_condition_only_the_constraint_is_left(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the test in the UPDATE the database's CHECK still refuses, as a defect and not as "no seats"."""
    world.fill(seats=2)
    monkeypatch.setattr(inventory, "_TAKE", TAKEN_ANYHOW)
    outcomes = _two_at_once(world, monkeypatch, seats=2)
    assert codes(outcomes) == {"done": 1, "INVARIANT_VIOLATION": 1}
    assert world.available(Z) == 0


@on("mysql", "mysql+redis/database", own=True)
def test_control_without_condition_and_constraint_the_flight_is_oversold(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.fill(seats=2)
    world.execute("ALTER TABLE flights DROP CONSTRAINT ck_flights_available_seats")
    monkeypatch.setattr(inventory, "_TAKE", TAKEN_ANYHOW)
    assert codes(_two_at_once(world, monkeypatch, seats=2)) == {"done": 2}
    assert world.available(Z) == -2


@on("mysql", "mysql+redis/database")
def test_control_with_read_and_write_apart_the_flight_is_oversold(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.fill(seats=2)
    monkeypatch.setattr(inventory, "_TAKE", READ_AND_WRITTEN)
    assert codes(_two_at_once(world, monkeypatch, seats=2)) == {"done": 2}
    assert any("seats do not add up" in problem for problem in world.problems())


@on("mysql", "mysql+redis/database")
def test_control_a_hold_that_does_not_ask_whether_seats_were_taken(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guard: reservations.ADD_IF_TAKEN, by which the server itself stops a batch that took nothing."""
    world.fill(seats=2)
    monkeypatch.setattr(reservations, "ADD_IF_TAKEN", HELD_ANYHOW)
    assert codes(_two_at_once(world, monkeypatch, seats=2)) == {"done": 2}
    assert any("seats do not add up" in problem for problem in world.problems())


@on("mysql+redis")
def test_eight_commands_started_at_once(world: World, cli: Cli) -> None:
    """The whole program, eight times."""
    world.fill(seats=4)
    started = [cli.start("book", Z, "--user", f"u{number}", "-o", "json", env=world.env) for number in range(8)]
    results = [cli.finish(process, check=None) for process in started]
    assert sorted(result.code for result in results) == [0] * 4 + [5] * 4
    assert all(result.error["code"] == "NO_SEATS_AVAILABLE" for result in results if result.code)
    assert world.available(Z) == 0
    assert world.problems() == []
