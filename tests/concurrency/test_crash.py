"""Death at every step of every flow: what is left is whole, and what cron and the daemon do afterwards finishes it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flightctl.core import database
from tests.concurrency import crew as acts
from tests.concurrency.conftest import on
from tests.concurrency.crash import DIED, EVERY_SIDE, in_child, until
from tests.concurrency.crew import Job, perform
from tests.concurrency.support import ZM, ZMA, World, Z, recover


@dataclass(frozen=True)
class Flow:
    """``prepare`` makes the scene and returns the act's arguments; ``allowed`` are codes of a second try of the act."""

    act: str
    prepare: Callable[[World], dict[str, Any]]
    allowed: frozenset[str] = frozenset({"done"})
    least: int = 8  # points that it has at least


def _nothing(**arguments: Any) -> Callable[[World], dict[str, Any]]:
    return lambda world: arguments


def _booked(identifier: str = ZM, **arguments: Any) -> Callable[[World], dict[str, Any]]:
    def prepare(world: World) -> dict[str, Any]:
        return {"booking": acts.book(world.own, identifier, 2)["booking"], **arguments}

    return prepare


def _three(**arguments: Any) -> Callable[[World], dict[str, Any]]:
    def prepare(world: World) -> dict[str, Any]:
        for identifier in Z, ZM, ZMA:
            acts.book(world.own, identifier, 1)
        return arguments

    return prepare


def _expired(*, sold: bool = False, **arguments: Any) -> Callable[[World], dict[str, Any]]:
    def prepare(world: World) -> dict[str, Any]:
        booking = acts.book(world.own, ZM, 2)["booking"]
        world.lapse(booking)
        acts.sweep(world.own)
        if sold:
            acts.confirm(world.own, acts.book(world.own, Z, 9)["booking"])
        return {"booking": booking, **arguments}

    return prepare


def _paid(world: World, identifier: str = ZM) -> str:
    booking = str(acts.book(world.own, identifier, 2)["booking"])
    acts.process(world.own)
    assert world.status(booking) == "CONFIRMED"
    return booking


def _paid_at_the_counter_and_released(world: World) -> dict[str, Any]:
    booking = acts.book(world.own, ZM, 2)["booking"]
    acts.confirm(world.own, booking)
    acts.release(world.own, booking, yes=True)
    return {"payment": world.payment_id(booking)}


def _refund_due(world: World) -> dict[str, Any]:
    acts.release(world.own, _paid(world), yes=True)
    return {}


def _lapsed(world: World) -> dict[str, Any]:
    for identifier in Z, ZM, ZMA:
        acts.book(world.own, identifier, 1)
    world.lapse()
    return {}


def _sold_flight(world: World) -> dict[str, Any]:
    _paid(world)
    acts.book(world.own, ZMA, 1)
    return {"flight": Z}


def _unflyable(world: World) -> dict[str, Any]:
    """Money for a booking whose flight was cancelled and whose cancel died before it ended the booking."""
    booking = acts.book(world.own, ZM, 2)["booking"]
    world.execute("UPDATE flights SET status = 'CANCELLED', seat_version = seat_version + 1 WHERE flight_id = %s", (Z,))
    return {"booking": booking}


def _disrupted(world: World) -> dict[str, Any]:
    """One finds seats elsewhere, the other does not."""
    for _ in range(2):
        acts.confirm(world.own, acts.book(world.own, ZM, 2)["booking"])
    plan = str(Path(tempfile.gettempdir()) / f"flightctl-crash-{os.getpid()}.json")
    world.disrupt(2, plan)
    return {"plan": plan}


def _cancelled_with_plan(world: World) -> dict[str, Any]:
    plan = Path(tempfile.gettempdir()) / f"flightctl-crash-{os.getpid()}-new.json"
    plan.unlink(missing_ok=True)
    return {**_sold_flight(world), "plan": str(plan)}


ENDED = frozenset({"done", "INVALID_STATE", "HOLD_EXPIRED", "VALIDATION_ERROR"})
FLOWS = {
    "book 1 leg": Flow("book", _nothing(identifier=Z, seats=2, key="order-4711"), least=5),
    "book 2 legs": Flow("book", _nothing(identifier=ZM, seats=2, key="order-4711"), least=5),
    "book 3 legs": Flow("book", _nothing(identifier=ZMA, seats=2, key="order-4711"), least=5),
    "claim, charge, settle, confirm": Flow("process", _three(outcome="success", everything=False), ENDED, least=20),
    "claim, decline, settle, fail": Flow("process", _three(outcome="failure", everything=False), ENDED, least=25),
    "claim, no answer": Flow("process", _booked(outcome="timeout", everything=False), ENDED),
    "callback SUCCESS": Flow("callback", _booked(), ENDED),
    "callback FAILURE": Flow("callback", _booked(status="FAILURE"), ENDED),
    "callback of an unknown payment": Flow("callback", _booked(payment="bank-1"), ENDED),
    "callback of another amount": Flow("callback", _booked(payment="bank-1", amount="1.00"), ENDED),
    "callback SUCCESS, late, seats there": Flow("callback", _expired(), ENDED),
    "callback SUCCESS, late, seats gone": Flow("callback", _expired(sold=True), ENDED),
    "callback SUCCESS, flight cancelled": Flow("callback", _unflyable, ENDED),
    "confirm": Flow("confirm", _booked(), ENDED),
    "confirm, hold expired": Flow("confirm", _expired(), ENDED),
    "release, pending": Flow("release", _booked(), ENDED),
    "release, confirmed": Flow("release", lambda world: {"booking": _paid(world), "yes": True}, ENDED),
    "release a part, pending": Flow("release", _booked(seats=1), ENDED),
    "release a part, confirmed": Flow(
        "release", lambda world: {"booking": _paid(world), "yes": True, "seats": 1}, ENDED
    ),
    "refund by the processor": Flow("process", _refund_due),
    "refund by hand": Flow("refund", _paid_at_the_counter_and_released, ENDED),
    "sweep": Flow("sweep", _lapsed),
    "hold extend": Flow("extend", _booked(), ENDED),
    "reaccommodate": Flow("reaccommodate", _disrupted),
    "flight cancel with a plan": Flow("cancel_flight", _cancelled_with_plan, ENDED),
    "flight cancel": Flow("cancel_flight", _sold_flight, least=30),
}


def _one_point(world: World, flow: Flow, die_at: int | None) -> tuple[int, list[str]]:
    """Scene, act, death, look, recovery, look. Returns the child's status and the steps of one that lived."""
    world.fill(seats=9)
    job = Job(flow.act, world.env, _arguments(flow, world))
    if world.backend.is_sqlite:
        world.close()  # a fork must not share a handle of SQLite's
        world._own = None
    status, seen, outcome = in_child(job, die_at)
    assert status in {0, DIED}, "the child failed"
    assert outcome is None or outcome.code == "done", outcome
    _wait_for_rollback(world)
    assert world.problems() == [], "half done"
    if die_at is not None and die_at % 2:  # somebody tries again at once
        world.end_leases()
        assert perform(world.own, job).code in flow.allowed
        assert world.problems() == [], "half done by the second try"
    recover(world, world.own, processor_first=die_at is not None and die_at % 4 < 2)
    assert world.problems(settled=True) == [], "not recovered"
    if die_at is None or die_at % 2 == 0 or flow.act == "book":  # somebody tries again much later
        again = perform(world.own, job)
        assert again.code in flow.allowed, again
        recover(world, world.own)
        assert world.problems(settled=True) == []
    if flow.act == "book":
        assert world.value("SELECT COUNT(*) FROM bookings") == 1, "booked twice"
    return status, seen


def _arguments(flow: Flow, world: World) -> dict[str, Any]:
    arguments = flow.prepare(world)
    if flow.act == "process":
        arguments.pop("booking", None)
    return arguments


def _wait_for_rollback(world: World) -> None:
    """The server has noticed the death: only our own connections are left."""
    if world.backend.is_sqlite:
        return
    ours = 1 + len(world._runtimes)
    name = world.backend.database_url.rpartition("/")[2]
    until(
        lambda: world.value("SELECT COUNT(*) FROM information_schema.processlist WHERE db = %s", (name,)) <= ours,
    )


# What the others nearly cover is left to the soak.
RARER = {
    "book 2 legs",
    "claim, decline, settle, fail",
    "claim, no answer",
    "callback of an unknown payment",
    "callback of another amount",
    "callback SUCCESS, flight cancelled",
    "confirm, hold expired",
}
CASES = [
    pytest.param("mysql+redis own", name, marks=[pytest.mark.soak] if name in RARER else [], id=f"{name}-redis")
    for name in FLOWS
]
CASES += [
    pytest.param("mysql own", name, marks=pytest.mark.soak, id=f"{name}-mysql") for name in ("book 2 legs", "sweep")
]
CASES += [
    pytest.param("sqlite", name, id=f"{name}-sqlite")
    for name in ("book 2 legs", "claim, charge, settle, confirm", "release, confirmed", "sweep")
]


@pytest.mark.parametrize(("world", "name"), CASES, indirect=["world"])
def test_death_at_every_step(
    world: World, name: str, record_property: Callable[[str, object], None], capsys: pytest.CaptureFixture[str]
) -> None:
    flow = FLOWS[name]
    if world.redis is not None:  # the first run of all teaches Redis the scripts, which takes a command more
        _one_point(world, flow, None)
    status, steps = _one_point(world, flow, None)
    assert status == 0
    assert len(steps) >= flow.least, steps
    assert any("COMMIT" in step for step in steps)
    points = list(enumerate(steps)) if EVERY_SIDE else _distinct(steps)
    for number, step in points:
        try:
            status, _ = _one_point(world, flow, number)
        except AssertionError as error:
            raise AssertionError(f"death {step!r} (step {number} of {len(steps)} in {name!r}): {error}") from error
        assert status == DIED, f"step {number}, {step!r}, was not reached"
    record_property("crash points", len(points))
    if EVERY_SIDE:
        with capsys.disabled():
            print(f"\n  {world.backend.name}, {name}: {len(points)} crash points")


def _distinct(steps: list[str]) -> list[tuple[int, str]]:
    """The points that leave different things behind: right after a step nothing differs from right before the next,
    and before a plain read nothing from before the step that precedes it."""
    return [
        (number, step)
        for number, step in enumerate(steps)
        if not step.startswith("after ")
        and not (number and steps[number - 1].startswith("before SELECT") and step.startswith("before SELECT"))
    ]


@on("mysql+redis", own=True)
def test_control_a_booking_in_two_transactions_leaves_half(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same harness finds what a booking of two commits would leave: a payment for nothing, seats without one."""
    send = database.Database.send

    def in_two(self: Any, steps: Any, **more: Any) -> Any:
        return send(self, steps[:3], **more) + send(self, steps[3:], **more)

    monkeypatch.setattr(database.Database, "send", in_two)
    found = []
    for number in range(40):
        world.fill(seats=9)
        status, _, _ = in_child(Job("book", world.env, {"identifier": Z, "key": "order-4711"}), number)
        _wait_for_rollback(world)
        found += world.problems()
        if status == 0:
            break
    assert any("without payment" in problem for problem in found)
