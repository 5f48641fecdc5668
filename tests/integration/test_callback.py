"""The callback table of the specification, cell by cell, and what stands under it."""

from decimal import Decimal

import pytest

from flightctl.core.errors import BookingNotFoundError, ValidationError
from flightctl.core.settlement import confirm
from tests.builders import TWO_LEGS, World, unchanged

SEATS = 2
TOTAL = Decimal("2000.00")

# State of the booking · callback · whose payment (own, or another of the right amount that nobody knew) ·
# then: the booking · its payments · seats taken on F1 · what is due back.
TABLE = [
    ("PENDING", "SUCCESS", "own", "CONFIRMED", ["SUCCESS"], 2, []),
    ("PENDING", "SUCCESS", "other", "CONFIRMED", ["CANCELLED", "SUCCESS"], 2, []),
    ("PENDING", "FAILURE", "own", "FAILED", ["FAILED"], 0, []),
    ("PENDING", "FAILURE", "other", "PENDING", ["FAILED", "REQUESTED"], 2, []),
    ("LAPSED", "SUCCESS", "own", "CONFIRMED", ["SUCCESS"], 2, []),
    ("LAPSED", "SUCCESS", "other", "CONFIRMED", ["CANCELLED", "SUCCESS"], 2, []),
    ("LAPSED", "FAILURE", "own", "FAILED", ["FAILED"], 0, []),
    ("CONFIRMED", "SUCCESS", "own", "CONFIRMED", ["SUCCESS"], 2, None),
    ("CONFIRMED", "SUCCESS", "other", "CONFIRMED", ["REFUND_DUE", "SUCCESS"], 2, [TOTAL]),
    ("CONFIRMED", "FAILURE", "own", "CONFIRMED", ["SUCCESS"], 2, None),
    ("CONFIRMED", "FAILURE", "other", "CONFIRMED", ["FAILED", "SUCCESS"], 2, []),
    ("EXPIRED", "SUCCESS", "own", "CONFIRMED", ["SUCCESS"], 2, []),
    ("EXPIRED", "SUCCESS", "other", "CONFIRMED", ["CANCELLED", "SUCCESS"], 2, []),
    ("EXPIRED", "FAILURE", "own", "EXPIRED", ["CANCELLED"], 0, None),
    ("EXPIRED", "FAILURE", "other", "EXPIRED", ["CANCELLED", "FAILED"], 0, []),
    ("GONE", "SUCCESS", "own", "EXPIRED", ["REFUND_DUE"], 8, [TOTAL]),
    ("GONE", "SUCCESS", "other", "EXPIRED", ["CANCELLED", "REFUND_DUE"], 8, [TOTAL]),
    ("GONE", "FAILURE", "own", "EXPIRED", ["CANCELLED"], 8, None),
    ("FAILED", "SUCCESS", "own", "FAILED", ["REFUND_DUE"], 0, [TOTAL]),
    ("FAILED", "SUCCESS", "other", "FAILED", ["FAILED", "REFUND_DUE"], 0, [TOTAL]),
    ("FAILED", "FAILURE", "own", "FAILED", ["FAILED"], 0, None),
    ("FAILED", "FAILURE", "other", "FAILED", ["FAILED", "FAILED"], 0, []),
    ("CANCELLED", "SUCCESS", "own", "CANCELLED", ["REFUND_DUE"], 0, [TOTAL]),
    ("CANCELLED", "SUCCESS", "other", "CANCELLED", ["CANCELLED", "REFUND_DUE"], 0, [TOTAL]),
    ("CANCELLED", "FAILURE", "own", "CANCELLED", ["CANCELLED"], 0, None),
    ("GIVEN UP", "SUCCESS", "own", "CANCELLED", ["REFUND_DUE"], 0, None),
    ("GIVEN UP", "FAILURE", "own", "CANCELLED", ["REFUND_DUE"], 0, None),
    ("GIVEN UP", "SUCCESS", "other", "CANCELLED", ["REFUND_DUE", "REFUND_DUE"], 0, [TOTAL, TOTAL]),
]


def booking_in(world: World, state: str) -> str:
    """A booking of two seats on F1 in that state. GONE: EXPIRED, and too few seats are left to take it up again."""
    if state == "EXPIRED":
        return world.expired(seats=SEATS)
    if state == "GONE":
        booking = world.expired(seats=SEATS)
        world.confirmed(seats=8, user="somebody else")
        return booking
    booking = world.booked(seats=SEATS)
    if state == "LAPSED":
        world.lapse(booking)
    elif state == "CONFIRMED":
        world.callback(booking)
    elif state == "FAILED":
        world.callback(booking, "FAILURE")
    elif state == "CANCELLED":
        world.release(booking)
    elif state == "GIVEN UP":  # after it was paid
        world.callback(booking)
        world.release(booking)
    return booking


@pytest.mark.parametrize(
    ("state", "report", "whose", "after", "payments", "taken", "due"),
    TABLE,
    ids=[f"{state}-{report}-{whose}".replace(" ", "-") for state, report, whose, *_ in TABLE],
)
def test_table(
    world: World,
    state: str,
    report: str,
    whose: str,
    after: str,
    payments: list[str],
    taken: int,
    due: list[Decimal] | None,
) -> None:
    """``due`` None: the callback changes nothing at all. Whatever it did, a second one does nothing."""
    world.line()
    booking = booking_in(world, state)
    payment = world.payment(booking) if whose == "own" else "pay-other"
    before = world.picture()

    result = world.callback(booking, report, payment)

    assert result.payment_id == payment
    assert result.booking_id == booking
    assert result.booking_status == world.status(booking) == after
    assert result.payment_status == world.payments(booking)[payment][0]
    assert world.paid(booking) == payments
    assert world.available("F1") == [9 - taken]
    assert result.changed == (due is not None)
    if due is None:
        assert world.picture() == before
    else:
        assert world.refunds(booking) == [(amount, "DUE") for amount in due]

    again = unchanged(world, lambda: world.callback(booking, report, payment))
    assert not again.changed
    assert again.booking_status == after
    assert again.payment_status == result.payment_status


def test_latest_payment_is_meant_by_default(world: World) -> None:
    world.line()
    booking = world.booked()
    assert world.callback(booking).payment_id == world.payment(booking)
    world.callback(booking, "FAILURE", "pay-later")
    assert not world.callback(booking, "FAILURE").changed
    assert world.callback(booking, "FAILURE").payment_id == "pay-later"


def test_success_says_who_did_what(world: World) -> None:
    world.line()
    booking = world.booked(TWO_LEGS, 2)
    world.callback(booking)
    assert world.moves(booking) == [("agent", None, "PENDING"), ("agent", "PENDING", "CONFIRMED")]
    assert world.holds(booking) == [("F1", "CONFIRMED"), ("F2", "CONFIRMED")]
    assert world.available("F1", "F2", "F3") == [7, 7, 9]


def test_failure_gives_back_all_legs_and_says_why(world: World) -> None:
    from flightctl.core.lists import show_booking
    from flightctl.core.model.payments import CallbackRequest
    from flightctl.core.model.states import CallbackStatus
    from flightctl.core.settlement import callback

    world.line()
    booking = world.booked(TWO_LEGS, 2)
    callback(world.runtime, CallbackRequest(booking, CallbackStatus.FAILURE, None, None, "card\nstolen " + "x" * 300))
    assert world.holds(booking) == [("F1", "RELEASED"), ("F2", "RELEASED")]
    assert world.available("F1", "F2") == [9, 9]
    reason = show_booking(world.runtime, booking).failure_reason
    assert reason is not None
    assert reason.startswith("card stolen xxx")
    assert len(reason) <= 255


def test_money_that_moves_while_the_booking_stands_still_is_in_its_story(world: World) -> None:
    world.line()
    booking = booking_in(world, "CONFIRMED")
    world.callback(booking, "SUCCESS", "pay-other")
    assert world.moves(booking)[-1] == ("agent", "CONFIRMED", "CONFIRMED")
    reason = world.one("SELECT reason FROM booking_events WHERE from_status = to_status")
    assert "pay-other" in reason
    assert "2000.00 is due back" in reason


def test_late_money_takes_the_seats_again(world: World) -> None:
    world.line()
    booking = world.expired(TWO_LEGS, 2)
    assert world.available("F1", "F2") == [9, 9]
    assert world.book_of(booking).failure_reason == "the hold expired"
    assert world.callback(booking).booking_status == "CONFIRMED"
    assert world.book_of(booking).failure_reason is None
    assert world.available("F1", "F2") == [7, 7]
    assert sorted(world.holds(booking)) == [
        ("F1", "CONFIRMED"),
        ("F1", "EXPIRED"),
        ("F2", "CONFIRMED"),
        ("F2", "EXPIRED"),
    ]
    assert world.moves(booking)[1:] == [("sweeper", "PENDING", "EXPIRED"), ("agent", "EXPIRED", "CONFIRMED")]


def test_late_money_takes_the_very_last_seats(world: World) -> None:
    world.line()
    booking = world.expired(seats=2)
    world.confirmed(seats=7)
    assert world.callback(booking).booking_status == "CONFIRMED"
    assert world.available("F1") == [0]


@pytest.mark.parametrize("full", ["F1", "F2"])
def test_late_money_takes_no_leg_when_one_is_gone(world: World, full: str) -> None:
    world.line()
    booking = world.expired(TWO_LEGS, 2)
    world.confirmed(full, 8, user="somebody else")
    before = world.available("F1", "F2")
    result = world.callback(booking)
    assert (result.booking_status, result.payment_status) == ("EXPIRED", "REFUND_DUE")
    assert world.available("F1", "F2") == before
    assert world.refunds(booking) == [(Decimal("4000.00"), "DUE")]


@pytest.mark.parametrize("trouble", ["cancelled", "departed"])
def test_late_money_finds_a_leg_that_does_not_fly(world: World, trouble: str) -> None:
    world.line()
    booking = world.expired(TWO_LEGS)
    (world.cancel_by_half if trouble == "cancelled" else world.depart)("F2")
    result = world.callback(booking)
    assert (result.booking_status, result.payment_status) == ("EXPIRED", "REFUND_DUE")
    assert world.available("F1", "F2") == [9, 9]


@pytest.mark.parametrize(
    ("cancelled", "departed", "ends"),
    [("F2", None, "CANCELLED"), (None, "F1", "EXPIRED"), ("F1", "F2", "CANCELLED"), ("F2", "F1", "CANCELLED")],
)
def test_money_for_a_pending_booking_that_cannot_fly(
    world: World, cancelled: str | None, departed: str | None, ends: str
) -> None:
    """EXPIRED, or CANCELLED when a flight was: also when another leg has left already."""
    world.line()
    booking = world.booked(TWO_LEGS, 2)
    if departed:
        world.depart(departed)
    if cancelled:
        world.cancel_by_half(cancelled)
    result = world.callback(booking)
    assert (result.booking_status, result.payment_status, result.changed) == (ends, "REFUND_DUE", True)
    assert world.available("F1", "F2") == [9, 9]
    assert world.refunds(booking) == [(Decimal("4000.00"), "DUE")]
    assert not unchanged(world, lambda: world.callback(booking)).changed


def test_failure_after_a_flight_was_cancelled_is_only_a_failure(world: World) -> None:
    world.line()
    booking = world.booked(TWO_LEGS)
    world.cancel_by_half("F2")
    assert world.callback(booking, "FAILURE").booking_status == "FAILED"


@pytest.mark.parametrize("status", ["REFUND_DUE", "REFUNDED"])
@pytest.mark.parametrize("report", ["SUCCESS", "FAILURE"])
def test_money_on_its_way_back_ignores_callbacks(world: World, status: str, report: str) -> None:
    from flightctl.core.refunding import refund

    world.line()
    booking = world.confirmed()
    payment = world.payment(booking)
    world.release(booking)
    if status == "REFUNDED":
        refund(world.runtime, payment)
    assert world.paid(booking) == [status]
    result = unchanged(world, lambda: world.callback(booking, report, payment))
    assert (result.changed, result.payment_status, result.booking_status) == (False, status, "CANCELLED")


def test_success_after_own_failure_of_an_unknown_payment_is_late_money(world: World) -> None:
    """The booking is still PENDING and could be confirmed: the failure was the gateway's last word all the same."""
    world.line()
    booking = world.booked()
    world.callback(booking, "FAILURE", "pay-x")
    result = world.callback(booking, "SUCCESS", "pay-x")
    assert (result.booking_status, result.payment_status, result.changed) == ("PENDING", "REFUND_DUE", True)


@pytest.mark.parametrize("state", ["PENDING", "CONFIRMED", "EXPIRED", "FAILED", "CANCELLED"])
@pytest.mark.parametrize("amount", ["1999.99", "2000.01"])
def test_unknown_payment_of_a_wrong_amount_is_due_back_and_changes_nothing_else(
    world: World, state: str, amount: str
) -> None:
    world.line()
    booking = booking_in(world, state)
    before, paid, seats = world.status(booking), world.paid(booking), world.available("F1")
    result = world.callback(booking, "SUCCESS", "pay-x", amount)
    assert (result.booking_status, result.payment_status, result.changed) == (before, "REFUND_DUE", True)
    assert world.refunds(booking) == [(Decimal(amount), "DUE")]
    assert world.paid(booking) == sorted([*paid, "REFUND_DUE"])
    assert world.available("F1") == seats
    again = unchanged(world, lambda: world.callback(booking, "SUCCESS", "pay-x", amount))
    assert not again.changed


def test_unknown_payment_of_the_right_amount_pays(world: World) -> None:
    world.line()
    booking = world.booked(seats=2)
    result = world.callback(booking, "SUCCESS", "  pay-x ", "2000")
    assert (result.payment_id, result.booking_status, result.payment_status) == ("pay-x", "CONFIRMED", "SUCCESS")
    assert world.payments(booking)["pay-x"] == ("SUCCESS", "GATEWAY")


def test_unknown_failure_keeps_its_amount(world: World) -> None:
    from tests.checker import exact

    world.line()
    booking = world.booked()
    world.callback(booking, "FAILURE", "pay-x", "5.50")
    assert exact(world.one("SELECT amount FROM payments WHERE payment_id = 'pay-x'")) == Decimal("5.50")
    assert world.status(booking) == "PENDING"


def test_payment_ids_are_told_apart_by_case(world: World) -> None:
    world.line()
    booking = world.booked()
    world.callback(booking, "FAILURE", "pay-x")
    assert world.callback(booking, "SUCCESS", "PAY-X").payment_status == "SUCCESS"


def test_id_of_another_booking_is_refused(world: World) -> None:
    world.line()
    one, two = world.booked(), world.booked()
    for report in ("SUCCESS", "FAILURE"):
        with pytest.raises(ValidationError, match="another booking"):
            unchanged(world, lambda report=report: world.callback(one, report, world.payment(two)))
    with pytest.raises(ValidationError):
        world.callback(one, "SUCCESS", world.payment(two), "1000.00")
    assert world.status(one) == world.status(two) == "PENDING"


def test_known_payment_of_another_amount_is_refused(world: World) -> None:
    world.line()
    booking = world.booked()
    with pytest.raises(ValidationError, match=r"1000\.00"):
        world.callback(booking, "SUCCESS", world.payment(booking), "999.00")
    assert world.status(booking) == "PENDING"


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
@pytest.mark.parametrize("payment", ["", " ", "x" * 65, "a\nb", "\x00", "\udc80", "pay\u202e"])
def test_bad_payment_ids_are_refused(world: World, payment: str) -> None:
    world.line()
    booking = world.booked()
    with pytest.raises(ValidationError):
        world.callback(booking, "SUCCESS", payment)


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_negative_amount_is_refused(world: World) -> None:
    world.line()
    booking = world.booked()
    with pytest.raises(ValidationError):
        world.callback(booking, "SUCCESS", "pay-x", "-1")


@pytest.mark.parametrize("booking", ["ZZZZZZ", "", "x" * 10_000, "' OR '1'='1", "\x00", "été"])
def test_unknown_bookings(world: World, booking: str) -> None:
    with pytest.raises(BookingNotFoundError):
        world.callback(booking)


def test_booking_ids_are_matched_without_regard_to_case(world: World) -> None:
    world.line()
    booking = world.booked()
    assert world.callback(f" {booking.lower()} ").booking_id == booking


def test_a_booking_without_any_payment_wants_to_hear_which(world: World) -> None:
    world.line()
    booking = world.booked()
    world.sql("DELETE FROM payments")
    with pytest.raises(ValidationError, match="--payment"):
        world.callback(booking)
    assert world.callback(booking, "SUCCESS", "pay-x").booking_status == "CONFIRMED"


def test_missing_hold_of_a_pending_booking_is_no_seat(world: World) -> None:
    """Damage: without its hold the booking has no seat, and confirming would oversell."""
    from flightctl.core.errors import InvariantViolationError

    world.unchecked = "a hold is missing"
    world.line()
    booking = world.booked(TWO_LEGS)
    world.sql("DELETE FROM seat_reservations WHERE flight_id = 'F2'")
    with pytest.raises(InvariantViolationError):
        unchanged(world, lambda: world.callback(booking))


@pytest.mark.parametrize("claimed", [False, True])
def test_counter_and_gateway_both_paid(world: World, claimed: bool) -> None:
    """The agent takes cash while the gateway is at work: the gateway's money, when it comes, goes back."""
    world.line()
    booking = world.booked()
    gateway = world.payment(booking)
    if claimed:
        world.sql(
            "UPDATE payments SET status = 'PROCESSING', claimed_until = '2099-01-01 00:00:00.000000'"
            " WHERE payment_id = %s",
            gateway,
        )
    assert confirm(world.runtime, booking).changed
    result = world.callback(booking, "SUCCESS", gateway)
    assert result.booking_status == "CONFIRMED"
    if claimed:
        assert world.paid(booking) == ["REFUND_DUE", "SUCCESS"]
        assert world.refunds(booking) == [(Decimal("1000.00"), "DUE")]
    else:  # it was settled by the counter before the gateway was asked
        assert not result.changed
        assert world.payments(booking) == {gateway: ("SUCCESS", "AGENT")}
