"""A plan applied by several at once, among buyers and whoever gives seats up: every booking moves once, or ends."""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import bindparam, update

from flightctl.core import disruption, inventory, reaccommodation, records, reservations
from flightctl.core.model.states import HoldOutcome
from flightctl.core.schema import bookings, seat_reservations
from flightctl.core.sql_functions import utc_now
from tests.concurrency import crew as acts
from tests.concurrency.conftest import on
from tests.concurrency.crew import Crew, Job, codes
from tests.concurrency.support import ZM, M, World, Z, after_first, recover
from tests.servers import mysql_connection

SERVERS = on("mysql", "mysql+redis")
WAITS = "SELECT 1 FROM information_schema.processlist WHERE time_ms > 30 AND info"


@pytest.fixture
def plan(tmp_path: Path) -> str:
    return str(tmp_path / "plan.json")


def _confirmed(world: World, count: int, seats: int = 2) -> list[str]:
    made = [str(acts.book(world.own, ZM, seats)["booking"]) for _ in range(count)]
    for booking in made:
        acts.confirm(world.own, booking)
    return made


def _on(world: World, flight: str) -> set[str]:
    rows = world.execute("SELECT booking_id FROM booking_flights WHERE flight_id = %s", (flight,))
    return {booking for (booking,) in rows}


@SERVERS
def test_one_plan_applied_by_four(world: World, crew: Crew, plan: str) -> None:
    """Five parties of two, seats for four."""
    for _ in range(3):
        world.fill(seats=20)
        waiting = _confirmed(world, 5)
        other = world.disrupt(8, plan)
        outcomes = crew.run([Job("reaccommodate", world.env, {"plan": plan})] * 4)
        assert codes(outcomes) == {"done": 4}, outcomes
        total = sum((Counter(outcome.value) for outcome in outcomes), Counter[str]())
        assert (total["moved"], total["cancelled"], total["failed"]) == (4, 1, 0)
        assert world.statuses() == {"CONFIRMED": 4, "CANCELLED": 1}
        assert _on(world, other) < set(waiting)
        assert (world.available(other), world.available(Z), world.available(M)) == (0, 20, 12)
        assert world.problems() == []
        assert world.cache_problems(fresh=True) == []
        again = acts.reaccommodate(world.own, plan)
        assert again == {"moved": 0, "cancelled": 0, "unchanged": 5, "failed": 0}


@SERVERS
def test_a_plan_among_buyers_releases_and_sweeps(world: World, crew: Crew, plan: str) -> None:
    """The alternative sells out meanwhile, parties shrink and give up; nobody is on two flights, or on none."""
    for number in range(5):
        world.fill(seats=20)
        waiting = _confirmed(world, 6)
        other = world.disrupt(9, plan)
        jobs = [Job("reaccommodate", world.env, {"plan": plan}, delay=0.004 * i) for i in range(2)]
        jobs += [
            Job("release", world.env, {"booking": waiting[i], "yes": True, "seats": i}, delay=0.003 * number)
            for i in (1, 2)
        ]
        jobs += [Job("book", world.env, {"identifier": other, "seats": 2}, delay=0.004 * i) for i in range(4)]
        jobs += [Job("sweep", world.env, {}), Job("cancel_flight", world.env, {"flight": M}, delay=0.03)][
            : 1 + number % 2
        ]
        outcomes = crew.run(jobs)
        assert {outcome.code for outcome in outcomes} <= {"done", "NO_SEATS_AVAILABLE"}, outcomes
        assert world.problems() == []
        assert world.value("SELECT COUNT(*) FROM disruptions d JOIN bookings b ON b.booking_id = d.booking_id"
                           " WHERE b.status = 'CONFIRMED'") == 0  # fmt: skip
        recover(world, world.own)
        assert world.problems(settled=True) == []
        assert world.cache_problems(fresh=True) == []


@SERVERS
def test_a_cancel_with_plan_among_confirms_and_sweeps(world: World, crew: Crew, tmp_path: Path) -> None:
    """No sweep ever ends a booking that had been paid when the flight was cancelled."""
    for number in range(6):
        world.fill(seats=20)
        paid = _confirmed(world, 3)
        held = [str(acts.book(world.own, ZM, 1)["booking"]) for _ in range(3)]
        jobs = [Job("cancel_flight", world.env, {"flight": Z, "plan": str(tmp_path / f"plan{number}.json")})]
        jobs += [Job("sweep", world.env, {}, delay=0.003 * i) for i in range(5)]
        jobs += [Job("confirm", world.env, {"booking": one}, delay=0.002 * i) for i, one in enumerate(held)]
        outcomes = crew.run(jobs)
        assert {outcome.code for outcome in outcomes} <= {"done", "INVALID_STATE", "INVALID_FLIGHT"}, outcomes
        assert [world.status(one) for one in paid] == ["CONFIRMED"] * 3
        assert world.problems() == []
        recover(world, world.own)
        assert world.problems(settled=True) == []
        assert [world.status(one) for one in paid] == ["CONFIRMED"] * 3


@on("mysql")
def test_control_a_sweep_that_does_not_look_for_marks(world: World, monkeypatch: pytest.MonkeyPatch, plan: str) -> None:
    """Guard: disruption.mark_of in flight_endings.cancel_for_flight. Marked between the sweep's look and its act."""
    for guarded in True, False:
        world.fill(seats=20)
        [booking] = _confirmed(world, 1)
        world.execute("UPDATE flights SET status = 'CANCELLED' WHERE flight_id = %s", (Z,))
        Path(plan).unlink(missing_ok=True)
        if not guarded:
            monkeypatch.setattr(disruption, "mark_of", lambda *_: None)
        with after_first(records, "flight_ids_of", lambda: acts.cancel_flight(world.runtime(), Z, plan)):
            acts.sweep(world.own)
        assert world.status(booking) == ("CONFIRMED" if guarded else "CANCELLED")


# --- the guards one by one


MOVE_WHATEVER = (
    update(bookings)
    .where(bookings.c.booking_id == bindparam("id"))
    .values(flight_identifier=bindparam("new"), flight_type=bindparam("kind"), updated_at=utc_now())
)
RELEASE_WHATEVER = (
    update(seat_reservations)
    .where(
        seat_reservations.c.booking_id == bindparam("booking"),
        seat_reservations.c.flight_id.in_(bindparam("ids", expanding=True)),
    )
    .values(outcome=HoldOutcome.RELEASED.value, deleted_at=utc_now())
)


def _two_that_both_look_first(world: World, plan: str) -> list[str]:
    world.fill(seats=20)
    _confirmed(world, 1)
    acts.book(world.own, Z, 4)  # or giving back twice would be stopped by the table's CHECK
    world.disrupt(9, plan)
    with after_first(disruption, "mark_of", lambda: acts.reaccommodate(world.runtime(), plan)):
        acts.reaccommodate(world.own, plan)
    return world.problems()


@on("mysql")
def test_without_the_booking_lock_nobody_moves_twice(world: World, monkeypatch: pytest.MonkeyPatch, plan: str) -> None:
    """Guard: the old itinerary in reaccommodation._NEW_ITINERARY (locks are local to a node of a cluster)."""
    monkeypatch.setattr(records, "_LOCKED_BOOKING", records._BOOKING)
    assert _two_that_both_look_first(world, plan) == []
    monkeypatch.setattr(reaccommodation, "_NEW_ITINERARY", MOVE_WHATEVER)
    monkeypatch.setattr(reservations, "_RELEASE_CONFIRMED", RELEASE_WHATEVER)
    assert _two_that_both_look_first(world, plan), "control: it has taken seats twice"


def _sold_between_look_and_act(world: World, plan: str) -> acts.Outcome:
    world.fill(seats=20)
    _confirmed(world, 1)
    other = world.disrupt(2, plan)
    with after_first(inventory, "lock_flights", lambda: acts.book(world.runtime(), other, 1)):
        return acts.perform(world.own, Job("reaccommodate", world.env, {"plan": plan}))


@on("mysql")
def test_without_the_flights_locks_nothing_is_oversold(
    world: World, monkeypatch: pytest.MonkeyPatch, plan: str
) -> None:
    """Guard: enough seats in inventory._TAKE; who has lost them looks again."""
    monkeypatch.setattr(inventory._LOCKED_FLIGHTS, "_for_update_arg", None)
    lost = _sold_between_look_and_act(world, plan)
    assert (lost.code, lost.value["cancelled"]) == ("done", 1)
    assert world.problems() == []
    monkeypatch.setattr(inventory, "take", lambda *_: None)
    _sold_between_look_and_act(world, plan)
    assert world.problems(), "control: moved to seats that somebody else has bought"


@on("mysql")
def test_two_cancellations_mark_the_same_booking(world: World) -> None:
    """Both found it unmarked; the second waits at the key for the first, and then is not refused but looks again."""
    world.fill(seats=9)
    [booking] = _confirmed(world, 1)
    first = mysql_connection(world.backend.database_url)
    first.begin()
    with first.cursor() as cursor:
        cursor.execute("INSERT INTO disruptions VALUES (%s, %s, UTC_TIMESTAMP(6))", (booking, Z))
    other = world.runtime()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(other.database.run, lambda tx: disruption.mark_confirmed(tx, M))
        while not world.execute(f"{WAITS} LIKE 'INSERT INTO disruptions%'"):
            time.sleep(0.005)
        first.commit()
        waiting.result()
    first.close()
    assert world.execute("SELECT flight_id FROM disruptions") == [(Z,)]
