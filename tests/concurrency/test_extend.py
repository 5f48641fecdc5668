"""Holds that are extended while others end them: each goes one way, and nothing outlives its departure."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import bindparam, update

from flightctl.core import flights, inventory, records, reservations
from flightctl.core.schema import seat_reservations
from tests.concurrency import crew as acts
from tests.concurrency.conftest import on
from tests.concurrency.crew import Crew, Job, codes
from tests.concurrency.support import ZM, World, Z, after_first

SERVERS = on("mysql", "mysql+redis")


def _book(world: World) -> str:
    return str(acts.book(world.own, ZM, 2)["booking"])


@SERVERS
def test_extend_against_the_sweep(world: World, crew: Crew) -> None:
    """The hold lapses at the very moment: it runs on, or it has ended; the sweep and the agent are told the same."""
    ends, lead = Counter[str](), 0.04
    world.fill(seats=9)
    for _ in range(40):
        booking = _book(world)
        lapses = datetime.now(UTC) + timedelta(seconds=lead)
        world.execute(
            "UPDATE seat_reservations SET expires_at = %s WHERE booking_id = %s", (f"{lapses:%F %T.%f}", booking)
        )
        jobs = [Job("extend", world.env, {"booking": booking})] + [
            Job("sweep", world.env, {}, delay=0.002 * i) for i in range(4)
        ]
        extended, *sweeps = crew.run(jobs)
        assert codes(sweeps) == {"done": 4}
        assert sum(swept.value["bookings"] for swept in sweeps) in ({0} if extended.code == "done" else {0, 1})
        if extended.code == "done":
            assert world.status(booking) == "PENDING"
            acts.release(world.own, booking)
        else:
            assert extended.code == "HOLD_EXPIRED"
            acts.sweep(world.own)
            assert world.status(booking) == "EXPIRED"
        ends[extended.code] += 1
        lead += -0.003 if extended.code == "done" else 0.003  # so that neither always wins
    assert world.problems() == []
    assert min(ends["done"], ends["HOLD_EXPIRED"]) >= 2, ends


@SERVERS
def test_extend_all_among_buyers_confirms_and_releases(world: World, crew: Crew) -> None:
    world.fill(seats=60)
    for _ in range(3):
        held = [_book(world) for _ in range(6)]
        jobs = [Job("extend_all", world.env, {}, delay=0.003 * i) for i in range(2)]
        jobs += [Job("confirm", world.env, {"booking": held[i]}, delay=0.002 * i) for i in range(2)]
        jobs += [Job("release", world.env, {"booking": held[2 + i]}, delay=0.002 * i) for i in range(2)]
        jobs += [Job("book", world.env, {"identifier": ZM}, delay=0.001 * i) for i in range(6)]
        outcomes = crew.run(jobs)
        assert codes(outcomes) == {"done": 12}, outcomes
        assert all(extended.value["failed"] == 0 for extended in outcomes[:2])
        assert world.problems() == []
        for (open_,) in world.execute("SELECT booking_id FROM bookings WHERE status = 'PENDING'"):
            acts.release(world.own, open_)


UNGUARDED_PROLONG = (
    update(seat_reservations)
    .where(seat_reservations.c.booking_id == bindparam("booking"))
    .values(expires_at=bindparam("until", type_=seat_reservations.c.expires_at.type))
)


def _swept_between_look_and_act(world: World, monkeypatch: pytest.MonkeyPatch) -> str:
    """Without locks, as between two nodes of a cluster: the sweep comes in after extend has looked."""
    monkeypatch.setattr(records, "_LOCKED_BOOKING", records._BOOKING)
    monkeypatch.setattr(records._LOCKED_STATES, "_for_update_arg", None)
    monkeypatch.setattr(inventory._DEPARTURES, "_for_update_arg", None)
    monkeypatch.setattr(reservations._OPEN_HOLDS, "_for_update_arg", None)
    world.fill(seats=9)
    booking = _book(world)

    def sweep() -> None:
        world.lapse(booking)
        assert acts.sweep(world.own)["bookings"] == 1

    with after_first(reservations, "lock_open", sweep):
        extended = acts.perform(world.runtime(), Job("extend", world.env, {"booking": booking}))
    return extended.code


@on("mysql")
def test_without_the_locks_the_update_still_looks(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guard: reservations._PROLONG changes no hold that has ended or lapsed."""
    assert _swept_between_look_and_act(world, monkeypatch) == "HOLD_EXPIRED"
    assert world.problems() == []


@on("mysql")
def test_control_without_the_locks_and_the_guard_an_ended_hold_is_extended(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reservations, "_PROLONG", UNGUARDED_PROLONG)
    monkeypatch.setattr(records, "touch", lambda _, ids: len(ids))  # which would find out, too
    assert _swept_between_look_and_act(world, monkeypatch) == "done"
    assert world.problems(), "extended, and expired all the same"


def departs_soon(world: World) -> tuple[str, str]:
    """A booking on Z, which departs in two hours, and an hour earlier as its new local time."""
    world.fill(seats=9)
    soon = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=2)
    day = f"{(soon + timedelta(hours=5.5)):%F}"
    world.execute(
        "UPDATE flights SET departure_time = %s, arrival_time = %s, departure_date = %s WHERE flight_id = %s",
        (f"{soon:%F %T.%f}", f"{soon + timedelta(hours=2):%F %T.%f}", day, Z),
    )
    booking = str(acts.book(world.own, Z, 1)["booking"])
    local = f"{soon + timedelta(hours=5.5) - timedelta(minutes=61):%FT%H:%M}"
    if local[:10] != day:
        pytest.skip("the hour before the departure is of the day before it")
    return booking, local


def outliving(world: World) -> int:
    """Holds that run beyond the departure of their flight."""
    return int(
        world.value(
            "SELECT COUNT(*) FROM seat_reservations r JOIN flights f ON f.flight_id = r.flight_id"
            " WHERE r.deleted_at IS NULL AND r.expires_at > f.departure_time"
        )
    )


def _departure_moves_meanwhile(world: World) -> int:
    """The flight is moved forward after extend has looked at its departure; holds that outlive it."""
    booking, local = departs_soon(world)
    other = world.runtime()
    moving = threading.Thread(target=lambda: flights.update(other, Z, departure=local))

    def move() -> None:
        moving.start()
        moving.join(0.5)

    with after_first(inventory, "departures", move):
        acts.extend(world.runtime(), booking, 86400)
    moving.join(30)
    return outliving(world)


@on("mysql")
def test_no_departure_moves_under_an_extension(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards: the share lock in inventory._DEPARTURES, and records.touch, which a cluster needs; each is enough here."""
    assert _departure_moves_meanwhile(world) == 0
    with monkeypatch.context() as patch:
        patch.setattr(records, "touch", lambda _, ids: len(ids))
        assert _departure_moves_meanwhile(world) == 0
        patch.setattr(inventory._DEPARTURES, "_for_update_arg", None)
        assert _departure_moves_meanwhile(world) == 1, "control: without them the hold outlives the departure"
    monkeypatch.setattr(inventory._DEPARTURES, "_for_update_arg", None)
    assert _departure_moves_meanwhile(world) == 0
