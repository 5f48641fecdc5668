"""Payments settled many at once, against whoever changes one of their bookings meanwhile."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import bindparam, func, update

from flightctl.core import confirming, payments, records, reservations
from flightctl.core.schema import bookings
from flightctl.core.sql_functions import utc_now
from tests.concurrency import crew as acts
from tests.concurrency.conftest import on
from tests.concurrency.crew import Crew, Job, codes
from tests.concurrency.support import ZM, ZMA, World, Z, after_first, before_first, recover


def _three(world: World) -> list[str]:
    world.fill(seats=9)
    return [str(acts.book(world.own, identifier, 1)["booking"]) for identifier in (Z, ZM, ZMA)]


@on("mysql", "mysql+redis")
def test_batches_of_money_against_releases_sweeps_and_the_counter(world: World, crew: Crew) -> None:
    for number in range(6):
        world.fill(seats=60)
        booked = [str(acts.book(world.own, (Z, ZM, ZMA)[i % 3], 1)["booking"]) for i in range(16)]
        jobs = [Job("process", world.env, {"everything": False}) for _ in range(2)]
        lead = 0.004 * number
        jobs += [Job("release", world.env, {"booking": one, "yes": True}, delay=lead) for one in booked[:3]]
        jobs += [Job("confirm", world.env, {"booking": one}, delay=lead) for one in booked[3:6]]
        jobs += [Job("callback", world.env, {"booking": one, "status": "FAILURE"}, delay=lead) for one in booked[6:9]]
        jobs += [Job("cancel_flight", world.env, {"flight": Z}, delay=lead + 0.01)] if number % 2 else []
        outcomes = crew.run(jobs)
        assert set(codes(outcomes)) <= {"done", "INVALID_STATE", "INVALID_FLIGHT"}, outcomes
        assert all(outcome.value["errors"] == [] for outcome in outcomes[:2]), outcomes
        assert world.problems() == []
        recover(world, world.own)
        assert world.problems(settled=True) == []


@on("mysql", "sqlite")
@pytest.mark.parametrize("meanwhile", ["release", "sweep", "callback"])
def test_the_batch_looks_at_each_booking_itself(world: World, meanwhile: str) -> None:
    """Changed after the gateway's answer was stored, before the batch: it is not the usual case any more."""
    one, *_ = _three(world)

    def change() -> None:
        other = world.runtime()
        if meanwhile == "sweep":
            world.lapse(one)
            acts.sweep(other)
        else:
            acts.ACTS[meanwhile](other, one)

    with before_first(payments, "confirm_paid", change):
        acts.process(world.runtime(), everything=False)
    assert world.status(one) == ("CANCELLED" if meanwhile == "release" else "CONFIRMED")
    assert world.problems() == []


# --- the guards one by one


def _released_between_look_and_act(world: World, patch: pytest.MonkeyPatch) -> None:
    """With the row locks off, as on another node of a cluster."""
    unlocked = confirming._LOCK._clone()
    unlocked._for_update_arg = None
    patch.setattr(confirming, "_LOCK", unlocked)
    one, *_ = _three(world)
    with after_first(confirming, "_legs_of_usual", lambda: acts.release(world.runtime(), one)):
        acts.process(world.runtime(), everything=False)
    assert world.status(one) in {"CANCELLED", "CONFIRMED"}


@on("mysql")
def test_without_the_lock_the_batch_counts_what_it_ends(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guard: the number of holds in confirming._confirm. The whole batch is rolled back; alone each ends as it must."""
    _released_between_look_and_act(world, monkeypatch)
    assert world.problems() == []
    assert world.statuses() == {"CANCELLED": 1, "CONFIRMED": 2}


def _end_unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    end_holds = reservations.end

    def uncounted(tx: Any, ids: Any, outcome: Any) -> int:
        end_holds(tx, ids, outcome)
        return 1 + 2 + 3

    monkeypatch.setattr(reservations, "end", uncounted)


@on("mysql")
def test_without_the_count_the_state_in_the_update_holds(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guard: the status in records._MOVE_MANY with its row count checked: the batch runs again."""
    _end_unseen(monkeypatch)
    _released_between_look_and_act(world, monkeypatch)
    assert world.statuses()["CANCELLED"] == 1
    assert world.problems() == []


@on("mysql")
def test_control_without_lock_count_and_state_money_buys_what_was_released(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    _end_unseen(monkeypatch)
    monkeypatch.setattr(
        records,
        "_MOVE_MANY",
        update(bookings)
        .where(bookings.c.booking_id.in_(bindparam("booking_ids", expanding=True)))
        .values(
            status=bindparam("new"),
            updated_at=utc_now(),
            failure_reason=func.coalesce(bindparam("failure"), bindparam("old")),
        ),
    )
    _released_between_look_and_act(world, monkeypatch)
    assert world.problems(), "paid for and free at once"


@on("mysql", "sqlite")
@pytest.mark.parametrize("looks", [True, False], ids=["as it is", "control: without the look"])
def test_a_flight_that_was_cancelled_is_not_confirmed(
    world: World, monkeypatch: pytest.MonkeyPatch, looks: bool
) -> None:
    """Guard: confirming._READY_LEG. The cancel died before it ended the bookings."""
    one, *_ = _three(world)
    if not looks:
        always = confirming._LEGS.with_only_columns(
            confirming.booking_flights.c.booking_id, func.count().label("legs"), func.count().label("ready")
        )
        monkeypatch.setattr(confirming, "_LEGS", always)
    world.execute("UPDATE flights SET status = 'CANCELLED', seat_version = seat_version + 1 WHERE flight_id = %s", (Z,))
    acts.process(world.runtime(), everything=False)
    assert world.status(one) == ("CANCELLED" if looks else "CONFIRMED")


@on("mysql")
def test_the_money_is_known_before_the_seats_are_decided(world: World) -> None:
    """Whatever becomes of the batch, the gateway's answers are committed when it begins."""
    _three(world)
    known: list[Any] = []

    def look() -> None:
        known.extend(world.execute("SELECT status, outcome FROM payments"))

    with before_first(payments, "confirm_paid", look):
        acts.process(world.runtime(), everything=False)
    assert known == [("PROCESSING", "SUCCESS")] * 3
