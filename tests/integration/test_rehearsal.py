"""The payment lab: what is rehearsed is what the callback table says, and late money is told."""

from __future__ import annotations

from decimal import Decimal

import pytest

from flightctl.core import lists
from flightctl.core.errors import BookingNotFoundError, EnvironmentProtectedError, ValidationError
from flightctl.core.model.payments import LatePayment
from flightctl.core.model.states import ForcedOutcome
from flightctl.core.payments import process
from flightctl.core.rehearsal import trigger
from tests.builders import TWO_LEGS, World, unchanged

pytestmark = pytest.mark.parametrize("backend", ["sqlite", "mysql+redis"], indirect=True)
SUCCESS, FAILURE, TIMEOUT = ForcedOutcome.SUCCESS, ForcedOutcome.FAILURE, ForcedOutcome.TIMEOUT


def late(world: World) -> list[LatePayment]:
    page = lists.list_late_payments(world.runtime, page=0, size=50)
    assert page.total_elements == len(page.content)
    return list(page.content)  # type: ignore[arg-type]


def test_on_time(world: World) -> None:
    world.line()
    booking = world.booked(TWO_LEGS)
    result = trigger(world.runtime, booking.lower(), SUCCESS)
    assert (result.booking_status, result.payment_status) == ("CONFIRMED", "SUCCESS")
    assert [one.changed for one in result.results] == [True]
    assert late(world) == []


def test_late_and_the_seats_are_there(world: World) -> None:
    world.line()
    booking = world.booked(TWO_LEGS)
    result = trigger(world.runtime, booking, SUCCESS, delay_seconds=360)
    assert (result.booking_status, result.payment_status) == ("CONFIRMED", "SUCCESS")
    assert [move[2] for move in world.moves(booking)] == ["PENDING", "EXPIRED", "CONFIRMED"]
    assert world.available("F1", "F2") == [8, 8]
    assert late(world) == []


def test_late_and_the_seats_are_gone(world: World) -> None:
    world.line(seats=1)
    booking = world.booked()
    trigger(world.runtime, booking, TIMEOUT, delay_seconds=360)
    assert (world.status(booking), world.paid(booking)) == ("EXPIRED", ["PROCESSING"])
    world.confirmed(user="u2")
    result = trigger(world.runtime, booking, SUCCESS)
    assert (result.booking_status, result.payment_status) == ("EXPIRED", "REFUND_DUE")
    [money] = late(world)
    assert (money.payment.payment_id, money.booking_status, money.refund_status) == (
        result.payment_id,
        "EXPIRED",
        "DUE",
    )
    process(world.runtime)
    [money] = late(world)
    assert (money.payment.status, money.refund_status) == ("REFUNDED", "PAID")


def test_not_late_enough(world: World) -> None:
    world.line()
    booking = world.booked()
    trigger(world.runtime, booking, TIMEOUT, delay_seconds=60)
    assert world.status(booking) == "PENDING"


def test_lost(world: World) -> None:
    world.line()
    booking = world.booked()
    result = trigger(world.runtime, booking, TIMEOUT, delay_seconds=360)
    assert (result.booking_status, result.payment_status, result.results) == ("EXPIRED", "PROCESSING", ())
    assert world.available("F1") == [9]


def test_double(world: World) -> None:
    world.line()
    result = trigger(world.runtime, world.booked(), SUCCESS, duplicates=3)
    assert [one.changed for one in result.results] == [True, False, False]
    assert (result.booking_status, result.payment_status) == ("CONFIRMED", "SUCCESS")


@pytest.mark.parametrize(
    ("outcome", "booking", "payment"), [(SUCCESS, "CONFIRMED", "SUCCESS"), (FAILURE, "FAILED", "REFUND_DUE")]
)
def test_contradictory(world: World, outcome: ForcedOutcome, booking: str, payment: str) -> None:
    world.line()
    result = trigger(world.runtime, world.booked(), outcome, reorder=True)
    assert [one.name for one in result.sent] == [outcome.name, "FAILURE" if outcome is SUCCESS else "SUCCESS"]
    assert (result.booking_status, result.payment_status) == (booking, payment)
    assert len(late(world)) == (outcome is FAILURE)


def test_what_may_not_be(world: World) -> None:
    world.line()
    booking = world.booked()
    production = world.another(FLIGHTCTL_ENVIRONMENT="production")
    with pytest.raises(EnvironmentProtectedError):
        unchanged(world, lambda: trigger(production, booking, SUCCESS))
    with pytest.raises(BookingNotFoundError):
        trigger(world.runtime, "ZZZZZZ", SUCCESS)
    for wrong in ({"duplicates": 0}, {"duplicates": 21}, {"delay_seconds": 31 * 86400.0}):
        with pytest.raises(ValidationError):
            unchanged(world, lambda wrong=wrong: trigger(world.runtime, booking, SUCCESS, **wrong))


def test_money_of_a_booking_that_was_given_up_is_not_late(world: World) -> None:
    """But a second payment for it is, and one of another amount."""
    world.line()
    paid = world.confirmed()
    world.callback(paid, "SUCCESS", "bank-1")
    world.callback(paid, "SUCCESS", "bank-2", "1.00")
    world.release(paid)
    money = {one.payment.payment_id: one for one in late(world)}
    assert set(money) == {"bank-1", "bank-2"}
    assert money["bank-2"].payment.amount == Decimal("1.00")
    assert "1.00 came where 1000.00" in str(money["bank-2"].payment.message)


def test_money_that_is_stored_and_not_settled_yet(world: World) -> None:
    """Its processor died after it had stored the answer; meanwhile the booking was released."""
    world.line()
    booking = world.booked()
    process(world.runtime, outcome=TIMEOUT)
    world.sql("UPDATE payments SET outcome = 'SUCCESS'")
    assert late(world) == []
    world.release(booking)
    [money] = late(world)
    assert (money.payment.status, money.refund_status) == ("PROCESSING", None)
