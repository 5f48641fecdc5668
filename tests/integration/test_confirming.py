"""Many payments settled in one transaction: whatever is not the usual cell of the table ends as it does alone."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest

from flightctl.core import claims, confirming, payments
from flightctl.core.errors import DatabaseUnavailableError, FlightctlError
from flightctl.core.gateway import MockGateway
from flightctl.core.model.states import ForcedOutcome
from flightctl.core.payments import process
from flightctl.core.settlement import confirm
from tests.builders import THREE_LEGS, TWO_LEGS, World

SERVER_AND_FILE = pytest.mark.parametrize("backend", ["sqlite", "mysql+redis"], indirect=True)


def _expire(world: World, booking: str) -> None:
    world.lapse(booking)
    world.sweep()


def _another_amount(world: World, booking: str) -> None:
    world.sql("UPDATE payments SET amount = %s WHERE booking_id = %s", world.money("1.00"), booking)
    world.unchecked = "a payment of another amount was planted"


# What happens to a booking between the claim of its payment and the gateway's answer.
CELLS: dict[str, Callable[[World, str], Any]] = {
    "usual": lambda _world, _booking: None,
    "expired, seats there": _expire,
    "released": World.release,
    "failed by another's word": lambda world, booking: world.callback(booking, "FAILURE"),
    "confirmed by another's word": lambda world, booking: world.callback(booking, "SUCCESS"),
    "paid at the counter": lambda world, booking: confirm(world.runtime, booking),
    "paid by a stranger": lambda world, booking: world.callback(booking, "SUCCESS", f"bank-{booking}"),
    "a stranger failed": lambda world, booking: world.callback(booking, "FAILURE", f"bank-{booking}"),
    "flight cancelled by half": lambda world, _booking: world.cancel_by_half("G1"),
    "flight departed": lambda world, _booking: world.depart("G2"),
    "another amount": _another_amount,
    "lapsed, not swept": World.lapse,  # last: the sweep of another would find it
}


def _scene(world: World) -> dict[str, str]:
    """A booking for each cell (and some more usual ones), claimed; then what happens to it. Booking by cell."""
    world.line(seats=40)
    world.flight("G1", seats=5)
    world.flight("G2", seats=5)
    flights = {"flight cancelled by half": "G1", "flight departed": "G2"}
    routes = (TWO_LEGS, "F1", THREE_LEGS)
    return {
        cell: world.booked(flights.get(cell, routes[number % 3]), 1 + number % 2)
        for number, cell in enumerate((*CELLS, "usual too", "usual as well"))
    }


def _play(world: World, outcome: ForcedOutcome) -> dict[str, tuple[str, list[str], list[tuple[str, str | None]]]]:
    booked = _scene(world)
    charge = MockGateway.charge_all

    def meanwhile(self: MockGateway, *args: Any) -> Any:
        for cell, happens in CELLS.items():
            happens(world, booked[cell])
        return charge(self, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MockGateway, "charge_all", meanwhile)
        result = process(world.another(), outcome=outcome)
    assert result.errors == ()
    assert result.claimed == len(booked)
    return {cell: (world.status(one), world.paid(one), world.holds(one)) for cell, one in booked.items()}


@SERVER_AND_FILE
@pytest.mark.parametrize("outcome", [ForcedOutcome.SUCCESS, ForcedOutcome.FAILURE])
def test_together_or_alone_every_cell_ends_the_same(
    world: World, outcome: ForcedOutcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled: list[set[str]] = []
    confirm_paid = payments.confirm_paid

    def counting(*args: Any, **more: Any) -> set[str]:
        settled.append(confirm_paid(*args, **more))
        return settled[-1]

    monkeypatch.setattr(payments, "confirm_paid", counting)
    together = _play(world, outcome)
    assert len(settled[0]) == (4 if outcome is ForcedOutcome.SUCCESS else 0)  # the usual three, and the lapsed one
    for table in ("refunds", "payments", "booking_events", "seat_reservations", "booking_flights", "bookings"):
        world.sql(f"DELETE FROM {table}")
    world.sql("DELETE FROM mock_gateway_ledger")
    world.sql("DELETE FROM flights")
    monkeypatch.setattr(payments, "confirm_paid", lambda *_args, **_more: set())
    assert _play(world, outcome) == together
    if outcome is ForcedOutcome.SUCCESS:
        assert together["usual"][:2] == ("CONFIRMED", ["SUCCESS"])
        assert together["lapsed, not swept"][:2] == ("CONFIRMED", ["SUCCESS"])
        assert together["released"][:2] == ("CANCELLED", ["REFUNDED"])


@SERVER_AND_FILE
def test_each_booking_has_its_own_event(world: World) -> None:
    world.line()
    booked = [world.booked() for _ in range(3)]
    process(world.runtime)
    for booking in booked:
        [(reason, operation)] = world.sql(
            "SELECT reason, operation_id FROM booking_events WHERE booking_id = %s AND to_status = 'CONFIRMED'", booking
        )
        assert reason == f"payment succeeded ({world.payment(booking)})"
        assert operation


@SERVER_AND_FILE
def test_one_that_cannot_be_settled_is_told_and_stops_no_other(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """An open hold that is no leg's: the batch is rolled back, then each is settled alone."""
    world.line()
    bad, *others = [world.booked() for _ in range(3)]
    world.sql(
        "INSERT INTO seat_reservations (booking_id, flight_id, seats, expires_at, created_at)"
        " SELECT booking_id, 'F3', seats, expires_at, created_at FROM seat_reservations WHERE booking_id = %s",
        bad,
    )
    world.unchecked = "a hold without its leg was planted"
    result = process(world.runtime)
    assert len(result.errors) == 1
    assert world.payment(bad) in result.errors[0]
    assert [world.status(one) for one in others] == ["CONFIRMED", "CONFIRMED"]
    assert (world.status(bad), world.paid(bad)) == ("PENDING", ["PROCESSING"])


def test_a_database_that_is_gone_is_not_tried_for_each(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.line()
    for _ in range(3):
        world.booked()

    def gone(*_: Any, **__: Any) -> Any:
        raise DatabaseUnavailableError("the database does not answer")

    monkeypatch.setattr(payments, "confirm_paid", gone)
    monkeypatch.setattr(payments, "_settle", lambda *_: pytest.fail("tried alone"))
    assert len(process(world.runtime).errors) == 3
    assert world.one("SELECT COUNT(*) FROM payments WHERE outcome = 'SUCCESS'") == 3, "the money's fact came first"


def test_the_gateway_asked_for_many_twice_at_once_charges_once(world: World) -> None:
    world.line()
    amounts = {world.payment(world.booked()): Decimal("1000.00") for _ in range(5)}
    gateways = [MockGateway(world.another().database, world.backend.settings()) for _ in range(4)]
    outcomes = [ForcedOutcome.SUCCESS, ForcedOutcome.FAILURE] * 2
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda gateway, outcome: gateway.charge_all(amounts, outcome), gateways, outcomes))
    assert all(answer == answers[0] for answer in answers)
    assert all(len(world.charges(payment)) == 1 for payment in amounts)
    world.unchecked = "the gateway was asked behind the bookings' back"


def test_an_answer_that_stands_is_repeated_among_new_ones(world: World) -> None:
    world.line()
    old, new = (world.payment(world.booked()) for _ in range(2))
    gateway = MockGateway(world.runtime.database, world.runtime.settings)
    gateway.charge(old, Decimal("1000.00"), ForcedOutcome.FAILURE)
    answers = gateway.charge_all(dict.fromkeys((old, new), Decimal("1000.00")), ForcedOutcome.SUCCESS)
    assert answers == {old: "FAILURE", new: "SUCCESS"}
    world.unchecked = "the gateway was asked behind the bookings' back"


# --- claims ----------------------------------------------------------------------------------------------------------


@SERVER_AND_FILE
@pytest.mark.parametrize("second_look", [True, False], ids=["as it is", "control: without the second look"])
def test_lapsed_ones_that_nobody_sweeps_keep_no_payment_waiting(
    world: World, monkeypatch: pytest.MonkeyPatch, second_look: bool
) -> None:
    """They are the oldest, and more than a claim looks at."""
    world.line(seats=40)
    for _ in range(9):
        world.lapse(world.booked())
    fresh = world.booked()
    if not second_look:
        monkeypatch.setattr(claims, "_NEW_ONES", claims._WAITING)
    process(world.another(FLIGHTCTL_PAYMENTS_BATCH_SIZE="1"))
    assert world.status(fresh) == ("CONFIRMED" if second_look else "PENDING")


def test_nothing_is_asked_for_again_when_the_batch_has_failed_before_the_gateway(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway that refuses the batch is asked for each payment alone."""
    world.line()
    booked = [world.booked() for _ in range(2)]

    def refuse(*_: Any) -> Any:
        raise FlightctlError("too many at once")

    monkeypatch.setattr(MockGateway, "charge_all", refuse)
    assert process(world.runtime, outcome=ForcedOutcome.SUCCESS).errors == ()
    assert [world.status(one) for one in booked] == ["CONFIRMED", "CONFIRMED"]


def test_nobody_paid_is_nothing_to_do(world: World) -> None:
    assert confirming.confirm_paid(world.runtime, {}, actor="x") == set()
