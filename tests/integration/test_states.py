"""Confirm, release and sweep, in every state, asked once and again."""

import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest

from flightctl.core.cancellation import ConfirmationNeededError, release
from flightctl.core.errors import (
    BookingNotFoundError,
    FlightctlError,
    HoldExpiredError,
    InvalidFlightError,
    InvalidStateError,
    ValidationError,
)
from flightctl.core.model.states import ForcedOutcome
from flightctl.core.payments import process
from flightctl.core.settlement import confirm
from flightctl.core.sweeper import sweep
from tests.builders import THREE_LEGS, TWO_LEGS, World, unchanged

# --- confirm ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lapsed", [False, True])
def test_confirm(world: World, lapsed: bool) -> None:
    """Also when the hold has lapsed and nobody has swept it yet."""
    world.line()
    booking = world.booked(TWO_LEGS, 2)
    if lapsed:
        world.lapse(booking)
    result = confirm(world.runtime, f" {booking.lower()} ")
    assert (result.changed, result.booking.status, result.booking.booking_id) == (True, "CONFIRMED", booking)
    assert world.payments(booking) == {result.booking.payment_id: ("SUCCESS", "AGENT")}
    assert world.holds(booking) == [("F1", "CONFIRMED"), ("F2", "CONFIRMED")]
    assert world.available("F1", "F2") == [7, 7]
    assert world.moves(booking)[-1] == ("agent", "PENDING", "CONFIRMED")
    again = unchanged(world, lambda: confirm(world.runtime, booking))
    assert (again.changed, again.booking) == (False, result.booking)


def test_confirm_what_the_gateway_paid(world: World) -> None:
    world.line()
    booking = world.confirmed()
    assert not unchanged(world, lambda: confirm(world.runtime, booking)).changed
    assert world.payments(booking) == {world.payment(booking): ("SUCCESS", "GATEWAY")}


@pytest.mark.parametrize("answer", [ForcedOutcome.SUCCESS, ForcedOutcome.FAILURE, ForcedOutcome.TIMEOUT])
def test_confirm_while_the_gateway_is_at_work(world: World, answer: ForcedOutcome) -> None:
    """The counter's money gets a payment of its own; what the gateway took goes back."""
    world.line()
    booking = world.booked()
    gateway = world.payment(booking)
    world.sql("UPDATE payments SET status = 'PROCESSING', claimed_until = '2020-01-01 00:00:00.000000'")
    assert confirm(world.runtime, booking).changed
    payments = world.payments(booking)
    assert payments.pop(gateway) == ("PROCESSING", "GATEWAY")
    assert list(payments.values()) == [("SUCCESS", "AGENT")]
    world.callback(booking, "FAILURE" if answer is ForcedOutcome.FAILURE else "SUCCESS", gateway)
    process(world.runtime, everything=True)
    assert world.status(booking) == "CONFIRMED"
    assert world.payments(booking)[gateway][0] == ("FAILED" if answer is ForcedOutcome.FAILURE else "REFUNDED")


def test_confirm_an_expired_booking_takes_the_seats_again(world: World) -> None:
    world.line()
    booking = world.expired(TWO_LEGS, 2)
    assert confirm(world.runtime, booking).changed
    assert world.available("F1", "F2") == [7, 7]
    assert sorted(outcome or "" for _, outcome in world.holds(booking)) == ["CONFIRMED"] * 2 + ["EXPIRED"] * 2
    assert world.moves(booking)[-1] == ("agent", "EXPIRED", "CONFIRMED")
    assert world.payments(booking) == {world.payment(booking): ("SUCCESS", "AGENT")}


@pytest.mark.parametrize("gone", ["sold", "cancelled", "departed"])
@pytest.mark.parametrize("flight", ["F1", "F2"])
def test_confirm_an_expired_booking_whose_seats_are_gone_charges_nothing(world: World, gone: str, flight: str) -> None:
    world.line()
    booking = world.expired(TWO_LEGS, 2)
    if gone == "sold":
        world.confirmed(flight, 8)
    elif gone == "cancelled":
        world.cancel_by_half(flight)
    else:
        world.depart(flight)
    with pytest.raises(HoldExpiredError, match="nothing was charged"):
        unchanged(world, lambda: confirm(world.runtime, booking))


@pytest.mark.parametrize("state", ["FAILED", "CANCELLED"])
def test_confirm_what_has_ended(world: World, state: str) -> None:
    world.line()
    booking = world.booked()
    if state == "FAILED":
        world.callback(booking, "FAILURE")
    else:
        world.release(booking)
    with pytest.raises(InvalidStateError, match="nothing was charged"):
        unchanged(world, lambda: confirm(world.runtime, booking))


@pytest.mark.parametrize(("trouble", "ends"), [("cancelled", "CANCELLED"), ("departed", "EXPIRED")])
def test_confirm_what_does_not_fly(world: World, trouble: str, ends: str) -> None:
    world.line()
    booking = world.booked(TWO_LEGS)
    (world.cancel_by_half if trouble == "cancelled" else world.depart)("F2")
    with pytest.raises(InvalidFlightError, match=trouble) as caught:
        confirm(world.runtime, booking)
    assert caught.value.details["status"] == world.status(booking) == ends
    assert world.payments(booking) == {world.payment(booking): ("REFUND_DUE", "AGENT")}
    assert world.available("F1", "F2") == [9, 9]


@pytest.mark.parametrize("booking", ["ZZZZZZ", "", "x" * 10_000, "' OR 1=1 --", "\udc80"])
def test_unknown_bookings(world: World, booking: str) -> None:
    for act in (confirm, lambda runtime, b: release(runtime, b, reason=None, confirmed_too=True)):
        with pytest.raises(BookingNotFoundError):
            act(world.runtime, booking)


# --- release ---------------------------------------------------------------------------------------------------------


def test_release_a_pending_booking(world: World) -> None:
    world.line()
    booking = world.booked(THREE_LEGS, 2)
    result = release(world.runtime, booking.lower(), reason="the customer called", confirmed_too=False)
    assert (result.changed, result.booking.status) == (True, "CANCELLED")
    assert result.booking.failure_reason == "the customer called"
    assert world.available("F1", "F2", "F3") == [9, 9, 9]
    assert world.holds(booking) == [("F1", "RELEASED"), ("F2", "RELEASED"), ("F3", "RELEASED")]
    assert world.paid(booking) == ["CANCELLED"]
    assert world.refunds(booking) == []
    assert world.moves(booking)[-1] == ("agent", "PENDING", "CANCELLED")
    for both in (False, True):
        again = unchanged(world, lambda both=both: world.release(booking, confirmed_too=both))
        assert (again.changed, again.booking.status) == (False, "CANCELLED")


def test_release_a_lapsed_booking_that_nobody_swept(world: World) -> None:
    world.line()
    booking = world.booked(TWO_LEGS)
    world.lapse(booking)
    assert world.release(booking).changed
    assert world.available("F1", "F2") == [9, 9]
    assert world.sweep().expired_bookings == 0


def test_release_while_the_gateway_is_at_work(world: World) -> None:
    world.line()
    booking = world.booked()
    payment = world.payment(booking)
    process(world.runtime, outcome=ForcedOutcome.TIMEOUT)
    world.release(booking)
    assert world.paid(booking) == ["PROCESSING"]
    assert world.callback(booking, "SUCCESS", payment).payment_status == "REFUND_DUE"
    assert world.status(booking) == "CANCELLED"


def test_release_a_confirmed_booking_wants_a_second_word(world: World) -> None:
    world.line()
    booking = world.confirmed(TWO_LEGS, 2)
    with pytest.raises(ConfirmationNeededError) as caught:
        unchanged(world, lambda: world.release(booking, confirmed_too=False))
    assert caught.value.exit_status == 2
    assert caught.value.hint == "Pass --yes to cancel it."
    with pytest.raises(ConfirmationNeededError, match=r"2000\.00 of 2000\.00") as caught:
        unchanged(world, lambda: release(world.runtime, booking, reason=None, confirmed_too=False, seats=1))
    assert caught.value.hint == "Pass --yes to give 1 of its seats back."
    result = world.release(booking)
    assert (result.changed, result.booking.status) == (True, "CANCELLED")
    assert world.available("F1", "F2") == [9, 9]
    assert world.refunds(booking) == [(Decimal("4000.00"), "DUE")]
    assert world.paid(booking) == ["REFUND_DUE"]
    assert world.moves(booking)[-1] == ("agent", "CONFIRMED", "CANCELLED")
    assert not unchanged(world, lambda: world.release(booking)).changed


def test_release_gives_back_only_its_own_seats(world: World) -> None:
    world.line()
    world.confirmed(TWO_LEGS, 3)
    booking = world.confirmed(TWO_LEGS, 2)
    world.release(booking)
    assert world.available("F1", "F2") == [6, 6]


def test_release_a_booking_that_was_confirmed_late(world: World) -> None:
    world.line()
    booking = world.expired(TWO_LEGS)
    world.callback(booking)
    assert world.release(booking).changed
    assert world.available("F1", "F2") == [9, 9]


@pytest.mark.parametrize("state", ["FAILED", "EXPIRED"])
def test_release_what_has_ended_otherwise(world: World, state: str) -> None:
    world.line()
    booking = world.expired() if state == "EXPIRED" else world.booked()
    if state == "FAILED":
        world.callback(booking, "FAILURE")
    with pytest.raises(InvalidStateError, match=state):
        unchanged(world, lambda: world.release(booking))


def test_release_after_departure(world: World) -> None:
    world.line()
    booking = world.confirmed()
    world.depart("F1")
    assert world.release(booking).changed
    assert world.available("F1") == [9]


@pytest.mark.parametrize("reason", ["x" * 1000, "two\nlines\tand  blanks", "🛫 Zoë", "'; --", "%s"])
def test_reasons_are_kept_on_one_line(world: World, reason: str) -> None:
    world.line()
    booking = world.booked()
    kept = release(world.runtime, booking, reason=reason, confirmed_too=False).booking.failure_reason
    assert kept == " ".join(reason.split())[:255]


def test_confirm_and_release_at_once_end_the_hold_once(world: World) -> None:
    world.line()
    for _ in range(3):
        booking = world.booked(TWO_LEGS)
        world.lapse(booking)
        runtimes = [world.another() for _ in range(3)]
        start = threading.Barrier(3)

        def act(
            n: int, booking: str = booking, runtimes: list = runtimes, start: threading.Barrier = start
        ) -> bool | None:
            start.wait()
            try:
                if n == 0:
                    return confirm(runtimes[0], booking).changed
                if n == 1:
                    return release(runtimes[1], booking, reason=None, confirmed_too=False).changed
                sweep(runtimes[2])
            except FlightctlError:
                return None
            return None

        with ThreadPoolExecutor(3) as pool:
            list(pool.map(act, range(3)))
        outcomes = {outcome for _, outcome in world.holds(booking)}
        assert None not in outcomes
        assert world.faults() == []


# --- sweep -----------------------------------------------------------------------------------------------------------


def test_sweep_expires_whole_bookings(world: World) -> None:
    world.line()
    lapsed, fresh = world.booked(THREE_LEGS, 2), world.booked(TWO_LEGS)
    world.lapse(lapsed)
    result = world.sweep()
    assert (result.expired_bookings, result.expired_reservations, result.seats_released, result.flights) == (1, 3, 6, 3)
    assert result.skipped == ()
    assert result.took_ms >= 0
    assert (world.status(lapsed), world.status(fresh)) == ("EXPIRED", "PENDING")
    assert world.available("F1", "F2", "F3") == [8, 8, 9]
    assert world.holds(lapsed) == [("F1", "EXPIRED"), ("F2", "EXPIRED"), ("F3", "EXPIRED")]
    assert world.paid(lapsed) == ["CANCELLED"]
    assert world.moves(lapsed)[-1] == ("sweeper", "PENDING", "EXPIRED")
    again = unchanged(world, world.sweep)
    assert (again.expired_bookings, again.expired_reservations, again.seats_released, again.flights) == (0, 0, 0, 0)


def test_one_lapsed_leg_ends_the_booking(world: World) -> None:
    world.line()
    booking = world.booked(TWO_LEGS)
    world.sql("UPDATE seat_reservations SET expires_at = '2020-01-01 00:00:00.000000' WHERE flight_id = 'F2'")
    assert world.sweep().expired_reservations == 2
    assert world.holds(booking) == [("F1", "EXPIRED"), ("F2", "EXPIRED")]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 10_000])
def test_sweep_in_batches(world: World, size: int) -> None:
    world.line(seats=20)
    bookings = [world.booked([TWO_LEGS, "F1", THREE_LEGS][n % 3]) for n in range(8)]
    for booking in bookings:
        world.lapse(booking)
    fresh = world.booked()
    result = world.sweep(batch_size=size)
    assert (result.expired_bookings, result.flights) == (8, 3)
    assert {world.status(booking) for booking in bookings} == {"EXPIRED"}
    assert world.status(fresh) == "PENDING"
    assert world.available("F1", "F2", "F3") == [19, 20, 20]


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
@pytest.mark.parametrize("size", [0, -1, 10_001])
def test_bad_batches(world: World, size: int) -> None:
    with pytest.raises(ValidationError, match="--batch-size"):
        world.sweep(batch_size=size)


def test_dry_run_counts_and_changes_nothing(world: World) -> None:
    world.line()
    for seats in (1, 2):
        world.lapse(world.booked(TWO_LEGS, seats))
    world.booked()
    world.cancel_by_half("F3")
    result = unchanged(world, lambda: world.sweep(dry_run=True))
    assert (result.expired_bookings, result.expired_reservations, result.seats_released, result.flights) == (2, 4, 6, 2)


@pytest.mark.parametrize("size", [1, 2, 500])
@pytest.mark.parametrize("damage", ["seats", "state"])
def test_a_booking_that_cannot_be_swept_is_named_and_stops_no_other(world: World, size: int, damage: str) -> None:
    """Its seats do not fit back into the flight, or its open hold belongs to a booking that has ended."""
    world.unchecked = "damage was planted"
    world.line()
    world.flight("BAD", "DEL", "BOM", seats=5)
    bookings = [world.booked(), world.booked("BAD", 2), world.booked(), world.booked()]
    bad = bookings.pop(1)
    for booking in (bad, *bookings):
        world.lapse(booking)
    if damage == "seats":
        world.sql("UPDATE flights SET available_seats = 4 WHERE flight_id = 'BAD'")
    else:
        world.sql("UPDATE bookings SET status = 'CANCELLED' WHERE booking_id = %s", bad)
    result = world.sweep(batch_size=size)
    assert result.expired_bookings == 3
    assert len(result.skipped) == 1
    assert result.skipped[0].startswith(f"{bad}: ")
    assert {world.status(booking) for booking in bookings} == {"EXPIRED"}
    assert world.available("F1") == [9]
    assert world.holds(bad) == [("BAD", None)]
    assert len(world.sweep(batch_size=size).skipped) == 1


def test_sweepers_at_once_expire_everything_once(world: World) -> None:
    world.line(seats=40)
    bookings = [world.booked([TWO_LEGS, "F2", "F1"][n % 3]) for n in range(18)]
    for booking in bookings:
        world.lapse(booking)
    runtimes = [world.another() for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(lambda runtime: sweep(runtime, batch_size=2), runtimes))
    assert sum(result.expired_bookings for result in results) == 18
    assert sum(result.seats_released for result in results) == 24
    assert [result.skipped for result in results] == [(), (), ()]
    assert world.available("F1", "F2") == [40, 40]
    assert world.one("SELECT COUNT(*) FROM booking_events WHERE to_status = 'EXPIRED'") == 18


def test_stopping_ends_the_sweep_between_batches(world: World) -> None:
    world.line()
    for _ in range(4):
        world.lapse(world.booked())
    asked = iter([False, True])
    result = world.sweep(batch_size=1, stopping=lambda: next(asked, True))
    assert result.expired_bookings == 1
    assert world.sweep().expired_bookings == 3


def test_sweep_leaves_what_lapses_while_it_runs(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bookings are tested again under their lock: one that was paid after the look stays paid."""
    from flightctl.core import sweeper

    world.line()
    booking = world.booked()
    world.lapse(booking)
    lapsed = sweeper._lapsed

    def look_and_lose(*args: object) -> object:
        found = lapsed(*args)  # type: ignore[arg-type]
        confirm(world.runtime, booking)
        return found

    monkeypatch.setattr(sweeper, "_lapsed", look_and_lose)
    result = world.sweep()
    assert (result.expired_bookings, result.skipped) == (0, ())
    assert world.status(booking) == "CONFIRMED"


def test_sweep_leaves_a_hold_that_was_prolonged_after_the_look(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from flightctl.core import sweeper

    world.line()
    booking = world.booked()
    [(until,)] = world.sql("SELECT expires_at FROM seat_reservations")
    world.lapse(booking)
    lapsed = sweeper._lapsed

    def look_and_lose(*args: object) -> object:
        found = lapsed(*args)  # type: ignore[arg-type]
        world.sql("UPDATE seat_reservations SET expires_at = %s", str(until))
        return found

    monkeypatch.setattr(sweeper, "_lapsed", look_and_lose)
    assert world.sweep().expired_bookings == 0
    assert world.status(booking) == "PENDING"


def test_sweep_finishes_a_killed_flight_cancel(world: World) -> None:
    world.line()
    pending, paid, other = world.booked(TWO_LEGS), world.confirmed(TWO_LEGS, 2), world.confirmed("F1")
    ended = world.booked(TWO_LEGS)
    world.callback(ended, "FAILURE")
    world.cancel_by_half("F2")
    result = world.sweep()
    assert (result.expired_bookings, result.skipped) == (0, ())
    states = [world.status(booking) for booking in (pending, paid, other, ended)]
    assert states == ["CANCELLED", "CANCELLED", "CONFIRMED", "FAILED"]
    assert world.refunds(paid) == [(Decimal("4000.00"), "DUE")]
    assert world.available("F1", "F2") == [8, 9]
    assert world.moves(paid)[-1] == ("sweeper", "CONFIRMED", "CANCELLED")
    unchanged(world, world.sweep)


def test_sweep_finishes_a_killed_flight_cancel_page_by_page(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A booking that cannot be ended is passed, and met once; so is one with two cancelled flights."""
    from flightctl.core import flight_endings
    from flightctl.core.errors import LockAcquisitionFailedError

    world.line(seats=90)
    booked = sorted([*(world.confirmed("F1") for _ in range(4)), *(world.booked(TWO_LEGS) for _ in range(3))])
    for flight in "F1", "F2":
        world.cancel_by_half(flight)
    original, tried = flight_endings.cancel_for_flight, []

    def cancel(runtime: Any, booking: str, *args: Any, **more: Any) -> bool:
        tried.append(booking)
        if booking in booked[1:3]:
            raise LockAcquisitionFailedError("its rows are locked")
        return original(runtime, booking, *args, **more)

    monkeypatch.setattr(flight_endings, "_CANCELS_PAGE", 2)
    monkeypatch.setattr(flight_endings, "cancel_for_flight", cancel)
    result = world.sweep()
    assert sorted(tried) == booked
    assert sorted(line[:6] for line in result.skipped) == booked[1:3]
    assert [one for one in booked if world.status(one) != "CANCELLED"] == booked[1:3]


def test_a_lapsed_booking_of_a_cancelled_flight_expires_or_is_cancelled_once(world: World) -> None:
    world.line()
    booking = world.booked(TWO_LEGS)
    world.lapse(booking)
    world.cancel_by_half("F1")
    world.sweep()
    assert world.status(booking) in {"EXPIRED", "CANCELLED"}
    assert len(world.moves(booking)) == 2
