"""Bookings given up by halves: quotes, rules, parts of a party, and the money of it to the last hundredth."""

from decimal import Decimal
from typing import Any

import pytest

from flightctl.core import cancellation, disruption, payments, refunding
from flightctl.core.audit import audit
from flightctl.core.errors import FlightctlError, IdempotencyMismatchError, InvalidStateError, ValidationError
from flightctl.core.lists import list_payments, show_payment
from flightctl.core.model.bookings import RefundQuote
from flightctl.core.model.payments import Payment
from flightctl.core.model.states import ForcedOutcome
from flightctl.core.runtime import Runtime
from flightctl.core.settlement import confirm
from tests.builders import TWO_LEGS, World, unchanged

RULES = "72h=100%, 24h=50%, 2h=25%"


@pytest.fixture
def ruled(world: World) -> Runtime:
    """By its rules 50 % goes back: the flights of the line depart in one to three days."""
    world.line(price="333.33")
    world.sql("UPDATE flights SET departure_time = %s WHERE flight_id = 'F1'", _in_hours(30))
    return world.another(FLIGHTCTL_RELEASE_REFUND=RULES)


def _in_hours(hours: float) -> str:
    from datetime import UTC, datetime, timedelta

    return (datetime.now(UTC) + timedelta(hours=hours)).strftime("%Y-%m-%d %H:%M:%S.%f")


def give(world: World, booking: str, seats: int | None = None, runtime: Runtime | None = None, **more: Any) -> Any:
    return cancellation.release(runtime or world.runtime, booking, reason=None, confirmed_too=True, seats=seats, **more)


def state(world: World, booking: str) -> tuple[int, Decimal, str]:
    found = world.book_of(booking)
    return found.seats, found.total_price, found.status.value


def paid(world: World, booking: str) -> Payment:
    return show_payment(world.runtime, world.payment(booking))


# --- quotes ----------------------------------------------------------------------------------------------------------


def test_quote(world: World, ruled: Runtime) -> None:
    booking = world.confirmed(TWO_LEGS, 3)
    whole = unchanged(world, lambda: cancellation.quote(ruled, booking.lower()))
    assert whole == RefundQuote(
        booking, whole.status, 3, 0, Decimal("1999.98"), Decimal("0.5"), Decimal("999.99"), Decimal("999.99"),
        whole.hours_left,
    )  # fmt: skip
    assert 29 < whole.hours_left <= 30
    part = cancellation.quote(ruled, booking, seats=1)
    assert (part.seats, part.seats_left, part.price, part.refund) == (1, 2, Decimal("666.66"), Decimal("333.33"))
    assert cancellation.quote(world.runtime, booking).refund == Decimal("1999.98"), "without rules all goes back"


@pytest.mark.parametrize("breaks", ["the flight was cancelled", "it waits to be moved"])
def test_the_rules_are_not_for_a_journey_that_the_airline_broke(world: World, ruled: Runtime, breaks: str) -> None:
    """Neither between the commit that cancels the flight and the one that ends the booking, nor while it waits."""
    booking = world.confirmed(TWO_LEGS, 2)
    if breaks == "the flight was cancelled":
        world.cancel_by_half("F2")
    else:
        ruled.database.run(lambda tx: disruption.mark_confirmed(tx, "F2"))
    assert cancellation.quote(ruled, booking, seats=1).refund == Decimal("666.66")
    give(world, booking, runtime=ruled)
    assert (paid(world, booking).refund_due, paid(world, booking).retained) == (Decimal("1333.32"), 0)


def test_quote_of_what_was_not_paid(world: World, ruled: Runtime) -> None:
    quote = cancellation.quote(ruled, world.booked(TWO_LEGS, 2))
    assert (quote.share, quote.refund, quote.retained, quote.price) == (None, 0, 0, Decimal("1333.32"))


def test_no_quote_for_what_has_ended(world: World, ruled: Runtime) -> None:
    for booking in world.expired(), world.booked():
        if world.status(booking) == "PENDING":
            world.release(booking)
        with pytest.raises(InvalidStateError):
            cancellation.quote(ruled, booking)


def test_a_quote_that_no_longer_holds_is_not_acted_upon(world: World, ruled: Runtime) -> None:
    booking = world.confirmed(TWO_LEGS, 2)
    shown = cancellation.quote(ruled, booking)
    world.sql("UPDATE flights SET departure_time = %s WHERE flight_id = 'F1'", _in_hours(23))
    with pytest.raises(cancellation.QuoteChangedError):
        unchanged(world, lambda: give(world, booking, runtime=ruled, expected=shown))
    assert give(world, booking, runtime=ruled, expected=cancellation.quote(ruled, booking)).changed
    assert world.refunds(booking) == [(Decimal("333.33"), "DUE")]


# --- whole bookings under rules --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hours", "refund", "status"), [(80, "1333.32", "REFUNDED"), (30, "666.66", "REFUNDED"), (1, None, "SUCCESS")]
)
def test_release_by_the_rules(world: World, ruled: Runtime, hours: float, refund: str | None, status: str) -> None:
    booking = world.confirmed(TWO_LEGS, 2)
    world.sql("UPDATE flights SET departure_time = %s, arrival_time = %s", _in_hours(hours), _in_hours(hours + 1))
    assert give(world, booking, runtime=ruled).booking.status == "CANCELLED"
    assert world.available("F1", "F2") == [9, 9]
    payments.process(world.runtime, everything=True)
    due = [] if refund is None else [(Decimal(refund), "PAID")]
    assert (world.refunds(booking), paid(world, booking).status) == (due, status)
    assert paid(world, booking).retained == Decimal("1333.32") - Decimal(refund or 0)
    assert not unchanged(world, lambda: give(world, booking, runtime=ruled)).changed
    assert audit(world.runtime).violations == ()


def test_a_cancelled_flight_owes_everything_whatever_the_rules(world: World, ruled: Runtime) -> None:
    from flightctl.core import flights

    booking = world.confirmed(TWO_LEGS, 2)
    flights.cancel(ruled, "F1", reason=None)
    assert world.refunds(booking) == [(Decimal("1333.32"), "DUE")]


# --- parts -----------------------------------------------------------------------------------------------------------


def test_part_of_a_pending_booking(world: World) -> None:
    world.line(price="333.33")
    booking = world.booked(TWO_LEGS, 3)
    result = give(world, booking, 1)
    assert (result.changed, result.booking.status, result.booking.seats) == (True, "PENDING", 2)
    assert state(world, booking) == (2, Decimal("1333.32"), "PENDING")
    assert world.available("F1", "F2", "F3") == [7, 7, 9]
    assert world.sql("SELECT DISTINCT seats, outcome FROM seat_reservations") == [(2, None)]
    assert paid(world, booking).amount == Decimal("1333.32")
    assert world.callback(booking).booking_status == "CONFIRMED"
    assert world.refunds(booking) == []


def test_part_of_a_pending_booking_that_lapses(world: World) -> None:
    world.line()
    booking = world.booked(TWO_LEGS, 3)
    give(world, booking, 1)
    world.lapse(booking)
    assert world.sweep().seats_released == 4
    assert world.available("F1", "F2") == [9, 9]
    assert world.callback(booking).booking_status == "CONFIRMED", "late money takes what was left of it"
    assert world.available("F1", "F2") == [7, 7]


@pytest.mark.parametrize("late", [False, True])
def test_part_given_back_while_the_gateway_charges_for_all(world: World, late: bool) -> None:
    """What it brings above the new price is due back."""
    world.line()
    booking = world.booked(TWO_LEGS, 3)
    world.sql("UPDATE payments SET status = 'PROCESSING', claimed_until = '2020-01-01 00:00:00.000000'")
    give(world, booking, 1)
    assert paid(world, booking).amount == Decimal("6000.00")
    if late:
        world.lapse(booking)
        world.sweep()
    payments.process(world.runtime, outcome=ForcedOutcome.SUCCESS)
    if late:  # the processor has voided the charge of a booking that had ended
        world.callback(booking, payment="bank-1")
    assert state(world, booking) == (2, Decimal("4000.00"), "CONFIRMED")
    if not late:
        assert world.refunds(booking)[0][0] == Decimal("2000.00")
        assert paid(world, booking).status == "SUCCESS"
    assert audit(world.runtime).violations == ()


def test_part_of_a_confirmed_booking(world: World) -> None:
    world.line(price="333.33")
    booking = world.confirmed(TWO_LEGS, 3)
    assert give(world, booking, 1).booking.status == "CONFIRMED"
    assert state(world, booking) == (2, Decimal("1333.32"), "CONFIRMED")
    assert world.available("F1", "F2") == [7, 7]
    payment = paid(world, booking)
    assert (payment.status, payment.amount, payment.refund_due) == ("SUCCESS", Decimal("1999.98"), Decimal("666.66"))
    assert list_payments(world.runtime, status=None, page=0, size=9, due=True).content == (payment,)
    assert world.sql("SELECT to_status FROM booking_events ORDER BY id DESC LIMIT 1") == [("CONFIRMED",)]
    assert audit(world.runtime).violations == ()
    payments.process(world.runtime)
    payment = paid(world, booking)
    assert (payment.status, payment.refund_due, payment.refunded) == ("SUCCESS", 0, Decimal("666.66"))
    assert give(world, booking, 1).changed
    give(world, booking)
    assert world.available("F1", "F2") == [9, 9]
    payments.process(world.runtime, everything=True)
    assert paid(world, booking).status == "REFUNDED"
    assert world.refunds(booking) == [(Decimal("666.66"), "PAID")] * 3


def test_parts_under_rules_add_up(world: World, ruled: Runtime) -> None:
    booking = world.confirmed(TWO_LEGS, 3)
    give(world, booking, 1, ruled)
    assert state(world, booking) == (2, Decimal("1333.32"), "CONFIRMED")
    give(world, booking, 2, world.runtime)
    assert world.refunds(booking) == [(Decimal("333.33"), "DUE"), (Decimal("1333.32"), "DUE")]
    assert paid(world, booking).retained == Decimal("333.33")
    assert audit(world.runtime).violations == ()


def test_all_the_seats_are_the_whole_booking(world: World) -> None:
    world.line()
    booking = world.confirmed(TWO_LEGS, 2)
    assert give(world, booking, 2).booking.status == "CANCELLED"
    assert paid(world, booking).status == "REFUND_DUE"


def test_counter_money_of_a_part_is_paid_by_hand(world: World) -> None:
    world.line()
    booking = world.booked(TWO_LEGS, 2)
    confirm(world.runtime, booking)
    give(world, booking, 1)
    assert payments.process(world.runtime).refunded == 0
    first = refunding.refund(world.runtime, world.payment(booking))
    assert (first.changed, first.payment.status, first.payment.refunded) == (True, "SUCCESS", Decimal("2000.00"))
    assert not unchanged(world, lambda: refunding.refund(world.runtime, world.payment(booking))).changed


@pytest.mark.parametrize("seats", [0, -1, 3, 99])
def test_more_seats_than_there_are(world: World, seats: int) -> None:
    world.line()
    booking = world.confirmed(TWO_LEGS, 2)
    with pytest.raises(ValidationError):
        unchanged(world, lambda: give(world, booking, seats))
    with pytest.raises(ValidationError):
        cancellation.quote(world.runtime, booking, seats=seats)


def test_a_part_of_what_has_ended(world: World) -> None:
    world.line()
    for booking in world.expired(TWO_LEGS, 2), world.booked(TWO_LEGS, 2):
        if world.status(booking) == "PENDING":
            world.callback(booking, "FAILURE")
        with pytest.raises(InvalidStateError):
            unchanged(world, lambda booking=booking: give(world, booking, 1))  # type: ignore[misc]


def test_the_key_still_stands_for_the_request_as_it_was_made(world: World) -> None:
    world.line()
    first = world.book(TWO_LEGS, 3, key="order-4711")
    for _ in range(2):
        give(world, first.booking.booking_id, 1)
    again = unchanged(world, lambda: world.book(TWO_LEGS, 3, key="order-4711"))
    assert (again.replayed, again.booking.booking_id, again.booking.seats) == (True, first.booking.booking_id, 1)
    for seats in 1, 2:
        with pytest.raises(IdempotencyMismatchError) as caught:
            unchanged(world, lambda seats=seats: world.book(TWO_LEGS, seats, key="order-4711"))  # type: ignore[misc]
        assert "3 seats" in caught.value.message


def test_damaged_reservations_give_nothing_back(world: World) -> None:
    world.line()
    booking = world.confirmed(TWO_LEGS, 2)
    world.unchecked = "damage is planted"
    world.sql("DELETE FROM seat_reservations WHERE flight_id = 'F2'")
    with pytest.raises(FlightctlError) as caught:
        unchanged(world, lambda: give(world, booking, 1))
    assert caught.value.code == "INVARIANT_VIOLATION"
