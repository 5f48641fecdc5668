"""Use cases in any order against a bookkeeping of a few lines, on SQLite and MariaDB."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from tests.concurrency import crew as acts
from tests.concurrency.conftest import on
from tests.concurrency.crew import Job, perform
from tests.concurrency.support import LEGS, MA, ZM, ZMA, A, M, World, Z, recover

SOAK = os.environ.get("FLIGHTCTL_SOAK") == "1"
TOTAL = 6
ROUTES = {Z: (Z,), M: (M,), A: (A,), ZM: (Z, M), MA: (M, A), ZMA: (Z, M, A)}


class Bookkeeping:
    """What should be true: per booking its route, seats, state and money."""

    def __init__(self) -> None:
        self.bookings: dict[str, dict[str, str | int | bool]] = {}
        self.cancelled: set[str] = set()

    def free(self, flight: str) -> int:
        taken = [b for b in self.bookings.values() if flight in ROUTES[str(b["route"])]]
        return TOTAL - sum(int(b["seats"]) for b in taken if b["state"] in {"PENDING", "CONFIRMED"})

    def can_book(self, route: str, seats: int) -> str:
        if self.cancelled & set(ROUTES[route]):
            return "INVALID_FLIGHT"
        return "done" if min(self.free(f) for f in ROUTES[route]) >= seats else "NO_SEATS_AVAILABLE"

    def pay(self, booking: str) -> str:
        """The state after its first SUCCESS."""
        b = self.bookings[booking]
        if b["state"] == "PENDING" and not self.cancelled & set(ROUTES[str(b["route"])]):
            return "CONFIRMED"
        if b["state"] == "EXPIRED" and self.can_book(str(b["route"]), int(b["seats"])) == "done":
            return "CONFIRMED"
        return "CANCELLED" if b["state"] == "PENDING" else str(b["state"])


class Machine(RuleBasedStateMachine):
    world: World

    def __init__(self) -> None:
        super().__init__()
        self.world.fill(seats=TOTAL)
        self.books = Bookkeeping()
        self.keys: dict[str, tuple[str, str, int]] = {}

    def act(self, name: str, **arguments: object) -> acts.Outcome:
        outcome = perform(self.world.own, Job(name, {}, arguments))
        assert not outcome.code.startswith("BUG"), outcome
        return outcome

    def some(self, number: int) -> str:
        return list(self.books.bookings)[number % len(self.books.bookings)]

    have = precondition(lambda self: bool(self.books.bookings))
    any_booking = st.integers(0, 30)

    @rule(route=st.sampled_from(list(ROUTES)), seats=st.integers(1, 4), key=st.sampled_from(["", "k1", "k2"]))
    def book(self, route: str, seats: int, key: str) -> None:
        expected = self.books.can_book(route, seats)
        told = self.act("book", identifier=route, seats=seats, key=key or None)
        if key in self.keys:
            booking, old_route, old_seats = self.keys[key]
            if (old_route, old_seats) != (route, seats):
                assert told.code == "IDEMPOTENCY_MISMATCH"
            else:
                state = self.books.bookings[booking]["state"]
                assert told.value == {"booking": booking, "replayed": True, "status": state}
            return
        assert told.code == expected, told
        if told.code == "done":
            booking = told.value["booking"]
            self.books.bookings[booking] = {"route": route, "seats": seats, "state": "PENDING", "paid": False}
            if key:
                self.keys[key] = (booking, route, seats)

    @have
    @rule(number=any_booking)
    def success(self, number: int) -> None:
        booking = self.some(number)
        told = self.act("callback", booking=booking, payment=self.first_payment(booking))
        b = self.books.bookings[booking]
        if not b["paid"]:
            failed_before = b.get("declined", False)
            b["state"] = b["state"] if failed_before else self.books.pay(booking)
            b["paid"] = True
        assert told.value["status"] == b["state"]

    @have
    @rule(number=any_booking)
    def failure(self, number: int) -> None:
        booking = self.some(number)
        b = self.books.bookings[booking]
        told = self.act("callback", booking=booking, payment=self.first_payment(booking), status="FAILURE")
        if b["state"] == "PENDING" and not b["paid"]:
            b["state"], b["declined"] = "FAILED", True
        assert told.value["status"] == b["state"]

    def first_payment(self, booking: str) -> str:
        rows = self.world.execute(
            "SELECT payment_id FROM payments WHERE booking_id = %s AND source = 'GATEWAY' "
            "ORDER BY created_at, payment_id LIMIT 1",
            (booking,),
        )
        return str(rows[0][0]) if rows else f"bank-{booking}"

    @have
    @rule(number=any_booking)
    def release(self, number: int) -> None:
        booking = self.some(number)
        b = self.books.bookings[booking]
        told = self.act("release", booking=booking, yes=True)
        assert told.code == ("INVALID_STATE" if b["state"] in {"FAILED", "EXPIRED"} else "done")
        if told.code == "done":
            assert told.value["changed"] is (b["state"] != "CANCELLED")
            b["state"] = "CANCELLED"

    @have
    @rule(number=any_booking)
    def lapse_and_sweep(self, number: int) -> None:
        booking = self.some(number)
        b = self.books.bookings[booking]
        pending = b["state"] == "PENDING"
        self.world.lapse(booking)
        told = self.act("sweep")
        assert told.value["bookings"] == int(pending)
        if pending:
            b["state"] = "EXPIRED"

    @have
    @rule(outcome=st.sampled_from(["success", "failure"]))
    def process(self, outcome: str) -> None:
        before = dict(self.world.execute("SELECT booking_id, status FROM payments WHERE status = 'REQUESTED'"))
        assert self.act("process", outcome=outcome).value["errors"] == []
        for booking in before:
            b = self.books.bookings[booking]
            if b["state"] == "PENDING" and outcome == "success":
                b["state"], b["paid"] = self.books.pay(booking), True
            elif b["state"] == "PENDING":
                b["state"], b["declined"] = "FAILED", True

    @precondition(lambda self: len(self.books.bookings) > 3)
    @rule(flight=st.sampled_from(list(LEGS)))
    def cancel_flight(self, flight: str) -> None:
        told = self.act("cancel_flight", flight=flight)
        ended = [
            name
            for name, b in self.books.bookings.items()
            if flight in ROUTES[str(b["route"])] and b["state"] in {"PENDING", "CONFIRMED"}
        ]
        assert sorted(told.value["bookings"]) == sorted(ended)
        for name in ended:
            self.books.bookings[name]["state"] = "CANCELLED"
        self.books.cancelled.add(flight)

    @invariant()
    def agrees(self) -> None:
        assert dict(self.world.execute("SELECT booking_id, status FROM bookings")) == {
            name: b["state"] for name, b in self.books.bookings.items()
        }
        assert {flight: self.world.available(flight) for flight in LEGS} == {f: self.books.free(f) for f in LEGS}
        assert self.world.problems() == []

    def teardown(self) -> None:
        recover(self.world, self.world.own)
        assert self.world.problems(settled=True) == []


@pytest.fixture
def machine(world: World) -> Callable[[], Machine]:
    Machine.world = world
    return Machine


@on("sqlite", "mysql+redis")
def test_any_order_of_use_cases(machine: Callable[[], Machine]) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=200 if SOAK else 10,
            stateful_step_count=30,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
