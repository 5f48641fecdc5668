"""Audit finds every kind of damage, names it, and mends what follows from the rest without guessing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flightctl.core import audit as audit_module
from flightctl.core import audit_checks
from flightctl.core.audit import audit
from flightctl.core.model.operations import AuditResult
from tests.builders import DIRECT, LONG_AGO, TWO_LEGS, World, text_of
from tests.conftest import Cli

Named = tuple[str, str | None, str | None]
REDIS_ONLY = pytest.mark.parametrize("backend", ["mysql+redis"], indirect=True)


@pytest.fixture(autouse=True)
def second_look_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_module, "LOOK_AGAIN_SECONDS", 0.05)


@pytest.fixture(autouse=True)
def few_rows_a_query(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that what belongs together is found on both sides of a boundary."""
    monkeypatch.setattr(audit_checks, "_ROWS", 2)
    monkeypatch.setattr(audit_checks, "_FLIGHTS", 2)


def ago(seconds: float) -> str:
    return text_of(datetime.now(UTC) - timedelta(seconds=seconds))


def named(result: AuditResult) -> set[Named]:
    return {(found.kind, found.flight_id, found.booking_id) for found in result.violations}


@contextmanager
def unguarded(world: World) -> Iterator[None]:
    """Without foreign keys, for what the database itself would refuse."""
    off, on = "SET foreign_key_checks = 0", "SET foreign_key_checks = 1"
    if world.backend.is_sqlite:
        off, on = "PRAGMA foreign_keys = OFF", "PRAGMA foreign_keys = ON"
    world.sql(off)
    try:
        yield
    finally:
        world.sql(on)


def shift(world: World, flight: str, seats: int) -> None:
    """Changes the count by hand, as the program would."""
    world.sql(
        "UPDATE flights SET available_seats = available_seats + %s, seat_version = seat_version + 1"
        " WHERE flight_id = %s",
        seats,
        flight,
    )


def add_hold(world: World, booking: str, flight: str, seats: int = 1) -> None:
    now = datetime.now(UTC)
    world.sql(
        "INSERT INTO seat_reservations (booking_id, flight_id, seats, expires_at, created_at)"
        " VALUES (%s, %s, %s, %s, %s)",
        booking,
        flight,
        seats,
        text_of(now + timedelta(minutes=5)),
        text_of(now),
    )


def add_payment(world: World, booking: str, payment: str, status: str, amount: str = "1000.00") -> None:
    world.sql(
        "INSERT INTO payments (payment_id, booking_id, amount, status, source, attempts, created_at, updated_at)"
        " VALUES (%s, %s, %s, %s, 'GATEWAY', 0, %s, %s)",
        payment,
        booking,
        world.money(amount),
        status,
        ago(0),
        ago(0),
    )


def add_refund(world: World, payment: str, refund: str, amount: str, status: str = "DUE") -> None:
    world.sql(
        "INSERT INTO refunds (refund_id, payment_id, amount, status, created_at, updated_at)"
        " VALUES (%s, %s, %s, %s, %s, %s)",
        refund,
        payment,
        world.money(amount),
        status,
        ago(0),
        ago(0),
    )


def end_by_hand(world: World, booking: str, status: str) -> None:
    """The booking's own row, its story and its payment are as after its end; its holds are not."""
    world.sql("UPDATE bookings SET status = %s WHERE booking_id = %s", status, booking)
    world.sql("UPDATE payments SET status = 'CANCELLED' WHERE booking_id = %s AND status = 'REQUESTED'", booking)
    world.sql(
        "INSERT INTO booking_events (booking_id, at, actor, from_status, to_status, reason)"
        " VALUES (%s, %s, 'hand', 'PENDING', %s, 'by hand')",
        booking,
        ago(0),
        status,
    )


# --- damage ----------------------------------------------------------------------------------------------------------


@dataclass
class Damage:
    """What was planted: the violations it makes, those that no repair may guess about, and what must hold after."""

    found: set[Named]
    left: set[Named] = field(default_factory=set)
    after: Callable[[], Any] = lambda: None
    events: str = ""
    """The booking whose history tells of the repair."""
    scar: str = ""
    """What the checker, which looks at the past as well, goes on to find."""


def count_too_low(world: World) -> Damage:
    world.booked(seats=2)
    shift(world, "F1", -3)
    return Damage({("seat_count", "F1", None)}, after=lambda: check(world.available("F1"), [7]))


def count_too_high(world: World) -> Damage:
    world.confirmed(seats=2)
    world.booked(TWO_LEGS)
    shift(world, "F1", 3)
    shift(world, "F2", 1)
    found: set[Named] = {("seat_count", "F1", None), ("seat_count", "F2", None)}
    return Damage(found, after=lambda: check(world.available("F1", "F2"), [6, 8]))


def more_sold_than_there_are(world: World) -> Damage:
    world.confirmed(seats=5)
    world.sql("UPDATE flights SET total_seats = 4, available_seats = 0 WHERE flight_id = 'F1'")
    found: set[Named] = {("seat_count", "F1", None)}
    return Damage(found, left=found)


def hold_of_no_booking(world: World) -> Damage:
    with unguarded(world):
        add_hold(world, "GHST22", "F1", 2)
    shift(world, "F1", -2)
    return Damage({("hold_without_booking", "F1", "GHST22")}, after=lambda: check(world.available("F1"), [9]))


def hold_of_cancelled_booking(world: World) -> Damage:
    booking = world.booked(TWO_LEGS)
    end_by_hand(world, booking, "CANCELLED")
    return Damage(
        {("hold_without_booking", "F1", booking), ("hold_without_booking", "F2", booking)},
        after=lambda: check(
            (world.available("F1", "F2"), world.holds(booking)), ([9, 9], [("F1", "RELEASED"), ("F2", "RELEASED")])
        ),
        events=booking,
    )


def hold_of_cancelled_booking_given_back(world: World) -> Damage:
    """The seats were given back, the hold was not ended."""
    booking = world.booked()
    end_by_hand(world, booking, "EXPIRED")
    shift(world, "F1", 1)
    return Damage(
        {("hold_without_booking", "F1", booking), ("seat_count", "F1", None)},
        after=lambda: check((world.available("F1"), world.holds(booking)), ([9], [("F1", "EXPIRED")])),
        events=booking,
    )


def open_hold_of_confirmed_booking(world: World) -> Damage:
    booking = world.confirmed()
    world.sql("UPDATE seat_reservations SET deleted_at = NULL, outcome = NULL WHERE booking_id = %s", booking)
    shift(world, "F1", -1)
    return Damage(
        {("hold_without_booking", "F1", booking)},
        after=lambda: check((world.available("F1"), world.holds(booking)), ([8], [("F1", "CONFIRMED")])),
        events=booking,
    )


def hold_of_a_flight_not_booked(world: World) -> Damage:
    booking = world.booked()
    add_hold(world, booking, "F3")
    shift(world, "F3", -1)
    return Damage(
        {("hold_without_leg", "F3", booking)},
        after=lambda: check(world.available("F1", "F3"), [8, 9]),
        events=booking,
        scar="it once held seats on another flight",
    )


def two_holds_for_a_leg(world: World) -> Damage:
    booking = world.booked(seats=2)
    add_hold(world, booking, "F1", 2)
    shift(world, "F1", -2)
    return Damage(
        {("duplicate_hold", "F1", booking)},
        after=lambda: check((world.available("F1"), world.holds(booking)), ([7], [("F1", None), ("F1", "RELEASED")])),
        events=booking,
    )


def hold_of_other_seats(world: World) -> Damage:
    booking = world.booked(seats=2)
    world.sql("UPDATE seat_reservations SET seats = 3 WHERE booking_id = %s", booking)
    shift(world, "F1", -1)
    found: set[Named] = {("hold_seats", "F1", booking)}
    return Damage(found, left=found)


def booking_without_hold(world: World) -> Damage:
    booking = world.booked(TWO_LEGS)
    world.sql("DELETE FROM seat_reservations WHERE booking_id = %s AND flight_id = 'F2'", booking)
    shift(world, "F2", 1)
    return Damage(
        {("booking_without_hold", "F2", booking)},
        after=lambda: check((world.status(booking), world.available("F1", "F2")), ("EXPIRED", [9, 9])),
        events=booking,
    )


def confirmed_on_cancelled_flight(world: World) -> Damage:
    booking, pending = world.confirmed(TWO_LEGS), world.booked()
    world.cancel_by_half("F1")
    return Damage(
        {("booking_on_cancelled_flight", "F1", booking), ("booking_on_cancelled_flight", "F1", pending)},
        after=lambda: check(
            (world.status(booking), world.status(pending), world.paid(booking), world.available("F2")),
            ("CANCELLED", "CANCELLED", ["REFUND_DUE"], [9]),
        ),
        events=booking,
    )


def unswept_hold(world: World) -> Damage:
    bookings = [world.booked(TWO_LEGS), world.booked()]
    for booking in bookings:
        world.sql("UPDATE seat_reservations SET expires_at = %s WHERE booking_id = %s", ago(65), booking)
    found: set[Named] = {("unswept_hold", flight, bookings[0]) for flight in ("F1", "F2")}
    return Damage(
        found | {("unswept_hold", "F1", bookings[1])},
        after=lambda: check([world.status(booking) for booking in bookings], ["EXPIRED", "EXPIRED"]),
        events=bookings[0],
    )


def payment_of_expired_booking(world: World) -> Damage:
    booking = world.expired()
    world.sql("UPDATE payments SET status = 'SUCCESS' WHERE booking_id = %s", booking)
    return Damage(
        {("payment_without_seat", None, booking)},
        after=lambda: check((world.paid(booking), len(world.refunds(booking))), (["REFUND_DUE"], 1)),
        events=booking,
    )


def payment_of_pending_booking(world: World) -> Damage:
    booking = world.booked(TWO_LEGS)
    world.sql("UPDATE payments SET status = 'SUCCESS' WHERE booking_id = %s", booking)
    return Damage(
        {("payment_without_seat", None, booking)},
        after=lambda: check((world.status(booking), world.available("F1")), ("CONFIRMED", [8])),
        events=booking,
    )


def payment_of_lapsed_booking(world: World) -> Damage:
    """Paid before it lapsed: it is confirmed, not swept."""
    booking = world.booked()
    world.sql("UPDATE payments SET status = 'SUCCESS' WHERE booking_id = %s", booking)
    world.lapse(booking)
    return Damage(
        {("payment_without_seat", None, booking), ("unswept_hold", "F1", booking)},
        after=lambda: check((world.status(booking), world.available("F1")), ("CONFIRMED", [8])),
        events=booking,
    )


def payment_of_booking_without_hold(world: World) -> Damage:
    booking = world.booked(TWO_LEGS)
    world.sql("UPDATE payments SET status = 'SUCCESS' WHERE booking_id = %s", booking)
    world.sql("DELETE FROM seat_reservations WHERE booking_id = %s AND flight_id = 'F1'", booking)
    shift(world, "F1", 1)
    return Damage(
        {("payment_without_seat", None, booking), ("booking_without_hold", "F1", booking)},
        after=lambda: check(
            (world.status(booking), world.paid(booking), world.available("F1", "F2")),
            ("EXPIRED", ["REFUND_DUE"], [9, 9]),
        ),
        events=booking,
    )


def payment_with_two_holds_of_pending(world: World) -> Damage:
    """Ending holds by the number of legs alone would confirm half of it."""
    booking = world.booked()
    world.sql("UPDATE payments SET status = 'SUCCESS' WHERE booking_id = %s", booking)
    add_hold(world, booking, "F1")
    return Damage(
        {("payment_without_seat", None, booking), ("duplicate_hold", "F1", booking), ("seat_count", "F1", None)},
        after=lambda: check((world.status(booking), world.available("F1")), ("CONFIRMED", [8])),
        events=booking,
    )


def double_payment(world: World) -> Damage:
    booking = world.confirmed()
    add_payment(world, booking, "second", "SUCCESS")
    return Damage(
        {("double_payment", None, booking)},
        after=lambda: check((world.paid(booking), world.status(booking)), (["REFUND_DUE", "SUCCESS"], "CONFIRMED")),
        events=booking,
    )


def double_payment_of_another_amount(world: World) -> Damage:
    """The payment of the right amount is the one that stays, whichever came first."""
    booking = world.confirmed()
    right = world.payment(booking)
    add_payment(world, booking, "other", "SUCCESS", "999.00")
    world.sql("UPDATE payments SET created_at = %s WHERE payment_id = 'other'", LONG_AGO)
    return Damage(
        {("double_payment", None, booking)},
        after=lambda: check(world.payments(booking)[right][0], "SUCCESS"),
        events=booking,
    )


def unpaid_booking(world: World) -> Damage:
    booking = world.confirmed()
    world.sql("UPDATE payments SET status = 'FAILED', outcome = 'FAILURE' WHERE booking_id = %s", booking)
    found: set[Named] = {("unpaid_booking", None, booking)}
    return Damage(found, left=found)


def amount_mismatch(world: World) -> Damage:
    booking = world.confirmed()
    world.sql("UPDATE payments SET amount = %s WHERE booking_id = %s", world.money("999.99"), booking)
    found: set[Named] = {("payment_amount", None, booking)}
    return Damage(found, left=found)


def requested_of_ended_booking(world: World) -> Damage:
    booking = world.expired()
    world.sql("UPDATE payments SET status = 'REQUESTED' WHERE booking_id = %s", booking)
    return Damage(
        {("stuck_payment", None, booking)},
        after=lambda: check((world.paid(booking), world.charges(world.payment(booking))), (["CANCELLED"], [])),
        events=booking,
    )


def processing(world: World, booking: str, *, claimed: float, updated: float = 3600) -> None:
    world.sql(
        "UPDATE payments SET status = 'PROCESSING', attempts = 1, claimed_until = %s, updated_at = %s"
        " WHERE booking_id = %s",
        ago(claimed),
        ago(updated),
        booking,
    )


def stuck_payment_of_pending_booking(world: World) -> Damage:
    booking = world.booked()
    processing(world, booking, claimed=910)
    return Damage(
        {("stuck_payment", None, booking)},
        after=lambda: check((world.status(booking), world.charges(world.payment(booking))), ("CONFIRMED", ["SUCCESS"])),
        events=booking,
    )


def stuck_payment_never_claimed(world: World) -> Damage:
    booking = world.booked()
    processing(world, booking, claimed=0)
    world.sql("UPDATE payments SET claimed_until = NULL WHERE booking_id = %s", booking)
    return Damage({("stuck_payment", None, booking)}, after=lambda: check(world.status(booking), "CONFIRMED"))


def stuck_payment_of_expired_booking(world: World) -> Damage:
    """Nobody had asked the gateway: it must not be charged now."""
    booking = world.expired()
    processing(world, booking, claimed=910)
    return Damage(
        {("stuck_payment", None, booking)},
        after=lambda: check((world.paid(booking), world.charges(world.payment(booking))), (["FAILED"], ["FAILURE"])),
        events=booking,
    )


def stuck_answer(world: World) -> Damage:
    """The gateway had answered, its answer was never delivered."""
    booking = world.booked(TWO_LEGS)
    processing(world, booking, claimed=910)
    world.sql("UPDATE payments SET outcome = 'FAILURE' WHERE booking_id = %s", booking)
    return Damage(
        {("stuck_payment", None, booking)},
        after=lambda: check((world.status(booking), world.available("F1", "F2")), ("FAILED", [9, 9])),
        events=booking,
    )


def refunds_above_payment(world: World) -> Damage:
    booking = world.confirmed()
    world.release(booking)
    add_refund(world, world.payment(booking), "ref-too-much", "0.01", "PAID")
    found: set[Named] = {("refunds_above_payment", None, booking)}
    return Damage(found, left=found)


def refund_missing(world: World) -> Damage:
    booking = world.confirmed()
    world.release(booking)
    world.sql("DELETE FROM refunds")
    return Damage(
        {("refund_missing", None, booking)},
        after=lambda: check([(str(a), s) for a, s in world.refunds(booking)], [("1000.00", "DUE")]),
        events=booking,
    )


def refund_missing_in_part(world: World) -> Damage:
    booking = world.confirmed()
    world.release(booking)
    world.sql("UPDATE refunds SET amount = %s", world.money("400.00"))
    expected = [("400.00", "DUE"), ("600.00", "DUE")]
    return Damage(
        {("refund_missing", None, booking)},
        after=lambda: check([(str(a), s) for a, s in world.refunds(booking)], expected),
        events=booking,
    )


def refund_paid_and_not_noted(world: World) -> Damage:
    booking = world.confirmed()
    world.release(booking)
    payment = world.payment(booking)
    process(world)
    world.sql("UPDATE payments SET status = 'REFUND_DUE' WHERE payment_id = %s", payment)
    return Damage(
        {("refund_missing", None, booking)},
        after=lambda: check((world.paid(booking), len(world.refunds(booking))), (["REFUNDED"], 1)),
        events=booking,
    )


def refunded_without_refund(world: World) -> Damage:
    booking = world.confirmed()
    world.release(booking)
    world.sql("DELETE FROM refunds")
    world.sql("UPDATE payments SET status = 'REFUNDED' WHERE booking_id = %s", booking)
    found: set[Named] = {("refund_missing", None, booking)}
    return Damage(found, left=found)


def refund_of_a_payment_that_stands(world: World) -> Damage:
    booking = world.confirmed()
    add_refund(world, world.payment(booking), "ref-stray", "10.00")
    found: set[Named] = {("refund_unexpected", None, booking)}
    return Damage(found, left=found)


def refund_overdue(world: World) -> Damage:
    booking = world.confirmed()
    world.release(booking)
    world.sql("UPDATE refunds SET created_at = %s", ago(910))
    return Damage(
        {("refund_overdue", None, booking)},
        after=lambda: check((world.paid(booking), world.refunds(booking)[0][1]), (["REFUNDED"], "PAID")),
        events=booking,
    )


def counter_money_overdue(world: World) -> Damage:
    """Only a person can pay it out, and say so."""
    from flightctl.core.settlement import confirm

    booking = world.booked()
    confirm(world.runtime, booking)
    world.release(booking)
    world.sql("UPDATE refunds SET created_at = %s", ago(910))
    found: set[Named] = {("refund_overdue", None, booking)}
    return Damage(found, left=found)


DAMAGES = (
    count_too_low,
    count_too_high,
    more_sold_than_there_are,
    hold_of_no_booking,
    hold_of_cancelled_booking,
    hold_of_cancelled_booking_given_back,
    open_hold_of_confirmed_booking,
    hold_of_a_flight_not_booked,
    two_holds_for_a_leg,
    hold_of_other_seats,
    booking_without_hold,
    confirmed_on_cancelled_flight,
    unswept_hold,
    payment_of_expired_booking,
    payment_of_pending_booking,
    payment_of_lapsed_booking,
    payment_of_booking_without_hold,
    payment_with_two_holds_of_pending,
    double_payment,
    double_payment_of_another_amount,
    unpaid_booking,
    amount_mismatch,
    requested_of_ended_booking,
    stuck_payment_of_pending_booking,
    stuck_payment_never_claimed,
    stuck_payment_of_expired_booking,
    stuck_answer,
    refunds_above_payment,
    refund_missing,
    refund_missing_in_part,
    refund_paid_and_not_noted,
    refunded_without_refund,
    refund_of_a_payment_that_stands,
    refund_overdue,
    counter_money_overdue,
)


def check(actual: Any, expected: Any) -> None:
    assert actual == expected


def process(world: World) -> None:
    from flightctl.core.payments import process as run

    run(world.runtime, everything=True)


def forget_cached(world: World) -> None:
    """The damage was done by SQL alone; what Redis says is another test's."""
    if world.backend.redis_url:
        world.redis.flushdb()


@pytest.mark.parametrize("backend", ["sqlite", "mysql+redis"], indirect=True)
@pytest.mark.parametrize("plant", DAMAGES, ids=lambda plant: plant.__name__)
def test_damage_is_named_and_mended(world: World, plant: Callable[[World], Damage]) -> None:
    name_and_mend(world, plant)


@pytest.mark.parametrize("backend", ["mysql"], indirect=True)
@pytest.mark.parametrize("plant", DAMAGES[::4], ids=lambda plant: plant.__name__)
def test_damage_without_redis(world: World, plant: Callable[[World], Damage]) -> None:
    """Some of it: the same database, and no cache to set right."""
    name_and_mend(world, plant)


def name_and_mend(world: World, plant: Callable[[World], Damage]) -> None:
    world.line()
    world.confirmed("F3")  # what is whole must stay so
    world.booked("F2", user="bystander")
    before = world.available("F1", "F2", "F3")
    for flight, seats in zip(("F1", "F2", "F3"), before, strict=True):
        world.sql("UPDATE flights SET total_seats = total_seats + %s WHERE flight_id = %s", 9 - seats, flight)
        shift(world, flight, 9 - seats)

    damage = plant(world)
    forget_cached(world)
    found = audit(world.runtime)
    assert named(found) == damage.found
    assert found.repaired == ()

    result = audit(world.runtime, repair=True)
    assert named(result) == damage.left, result
    assert bool(result.repaired) == (damage.found != damage.left)
    damage.after()
    again = audit(world.runtime, repair=True)
    assert (named(again), again.repaired) == (damage.left, ())
    if damage.events:
        who = {actor for actor, _, _ in world.moves(damage.events)}
        assert who & {"audit --repair", "payment processor", "sweeper"}
    world.unchecked = "its damage is not to be guessed about" if damage.left else damage.scar


@pytest.mark.parametrize("plant", [count_too_low, two_holds_for_a_leg, booking_without_hold])
def test_repair_leaves_other_bookings_alone(world: World, plant: Callable[[World], Damage]) -> None:
    world.line()
    others = [world.confirmed(TWO_LEGS), world.booked(user="bystander")]
    stories = [world.moves(booking) for booking in others]
    plant(world)
    forget_cached(world)
    audit(world.runtime, repair=True)
    assert [world.status(booking) for booking in others] == ["CONFIRMED", "PENDING"]
    assert [world.moves(booking) for booking in others] == stories


def test_what_is_whole_is_clean(world: World) -> None:
    world.line()
    world.confirmed(TWO_LEGS)
    world.release(world.confirmed())
    world.expired()
    world.booked()
    assert audit(world.runtime, repair=True) == AuditResult(3, 4, ())


def test_what_is_merely_unfinished_is_no_damage(world: World) -> None:
    """A lapse of 30 s, money owed for 14 min, a payment that is being asked for, a young one with a dead processor."""
    world.line()
    unanswered = world.expired()
    lapsed = world.booked()
    world.sql("UPDATE seat_reservations SET expires_at = %s WHERE booking_id = %s", ago(30), lapsed)
    owed = world.confirmed()
    world.release(owed)
    world.sql("UPDATE refunds SET created_at = %s", ago(14 * 60))
    asked = world.booked()
    processing(world, asked, claimed=-20, updated=5000)  # the gateway does not answer; its hold is a long one
    processing(world, unanswered, claimed=-1800, updated=50_000)
    confirmed_meanwhile = world.confirmed()
    add_payment(world, confirmed_meanwhile, "unanswered", "PROCESSING")
    dead = world.booked()
    processing(world, dead, claimed=600, updated=630)
    found = audit(world.runtime).violations
    assert found == (), found


def test_a_payment_that_should_have_been_given_up_is_stuck(world: World) -> None:
    world.line()
    booking = world.expired()
    processing(world, booking, claimed=-1800)
    world.sql("UPDATE payments SET created_at = %s WHERE booking_id = %s", ago(86400 + 3600 + 910), booking)
    assert named(audit(world.runtime)) == {("stuck_payment", None, booking)}


def test_a_cancel_at_work_is_no_damage(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """One transaction ends one booking: what is left shrinks from look to look."""
    world.line()
    left = [world.confirmed() for _ in range(3)]
    world.cancel_by_half("F1")
    monkeypatch.setattr(audit_module.time, "sleep", lambda _: left and world.release(left.pop()))
    assert audit(world.runtime).violations == ()


def test_bookings_that_a_cancel_left_behind_are(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.line()
    first, second = world.confirmed(), world.confirmed()
    world.cancel_by_half("F1")
    more = [first]
    monkeypatch.setattr(audit_module.time, "sleep", lambda _: more and world.release(more.pop()))
    assert named(audit(world.runtime)) == {("booking_on_cancelled_flight", "F1", second)}
    world.release(second)


# --- cached counts ---------------------------------------------------------------------------------------------------


@REDIS_ONLY
@pytest.mark.parametrize(
    ("seats", "newer"), [(3, 0), (8, -1), (8, 1), (7, 86400 * 1_000_000 * 30)], ids=["same", "older", "newer", "future"]
)
def test_a_stale_cached_count_is_found_and_replaced(world: World, seats: int, newer: int) -> None:
    world.line()
    world.booked()
    [(available, version)] = world.sql("SELECT available_seats, seat_version FROM flights WHERE flight_id = 'F1'")
    world.redis.set("flight:F1:seats", f"{seats}:{version + newer}", ex=60)
    found = audit(world.runtime)
    assert named(found) == {("stale_cached_count", "F1", None)}
    assert f"Redis says {seats}" in found.violations[0].detail
    repaired = audit(world.runtime, repair=True)
    assert (repaired.violations, len(repaired.repaired)) == ((), 1)
    assert world.redis.get("flight:F1:seats") == f"{available}:{version}".encode()
    assert 0 < world.redis.ttl("flight:F1:seats") <= 60


@REDIS_ONLY
def test_a_cached_count_of_no_flight_is_forgotten(world: World) -> None:
    world.line()
    world.redis.set("flight:GONE1:seats", "4:1", ex=60)
    assert named(audit(world.runtime)) == {("stale_cached_count", "GONE1", None)}
    assert audit(world.runtime, repair=True).violations == ()
    assert world.redis.get("flight:GONE1:seats") is None


@REDIS_ONLY
def test_a_cancelled_flight_counts_zero_in_the_cache(world: World) -> None:
    from flightctl.core import flights

    world.line()
    world.booked()
    flights.cancel(world.runtime, "F1", reason=None)
    assert world.redis.get("flight:F1:seats").startswith(b"0:")
    assert audit(world.runtime).violations == ()
    version = world.one("SELECT seat_version FROM flights WHERE flight_id = 'F1'")
    world.redis.set("flight:F1:seats", f"9:{version}")
    assert named(audit(world.runtime)) == {("stale_cached_count", "F1", None)}
    audit(world.runtime, repair=True)


@REDIS_ONLY
def test_a_count_that_is_being_published_is_not_stale(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the first look the database is ahead of Redis, at the second no more."""
    from flightctl.core import inventory

    world.line()
    world.booked()
    version = world.one("SELECT seat_version FROM flights WHERE flight_id = 'F1'")
    world.redis.set("flight:F1:seats", f"9:{version - 1}", ex=60)

    def publish(_: float) -> None:
        world.runtime.cache.publish_seats(world.runtime.database.read(lambda tx: inventory.counts(tx, ["F1"])))

    monkeypatch.setattr(audit_module.time, "sleep", publish)
    assert audit(world.runtime).violations == ()


@REDIS_ONLY
def test_a_row_that_moves_on_is_not_judged(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis is behind at both looks, but of different rows: sales go on."""
    world.line()
    world.booked()
    version = world.one("SELECT seat_version FROM flights WHERE flight_id = 'F1'")
    world.redis.set("flight:F1:seats", f"9:{version - 1}", ex=60)
    monkeypatch.setattr(audit_module.time, "sleep", lambda _: shift(world, "F1", 0))
    assert audit(world.runtime).violations == ()
    forget_cached(world)


@REDIS_ONLY
def test_redis_that_is_down_hides_no_damage(world: World) -> None:
    world.line()
    world.booked()
    shift(world, "F1", 1)
    away = world.another(FLIGHTCTL_REDIS_URL="redis://127.0.0.1:1/0")
    assert named(audit(away)) == {("seat_count", "F1", None)}
    assert named(audit(away, repair=True)) == set()
    assert len(world.warnings) == 1, world.warnings
    forget_cached(world)


# --- the command -----------------------------------------------------------------------------------------------------


def test_the_command_names_damage_and_mends_it(world: World, cli: Cli) -> None:
    env = world.backend.env
    world.line()
    booking = world.confirmed()
    clean = cli("audit", "-o", "json", env=env)
    assert clean.json() == {"flightsChecked": 3, "bookingsChecked": 1, "violations": [], "repaired": []}
    assert clean.stderr == ""

    shift(world, "F2", -4)
    add_payment(world, booking, "second", "SUCCESS")
    unpaid = world.confirmed()
    world.sql("UPDATE payments SET status = 'FAILED', outcome = 'FAILURE' WHERE booking_id = %s", unpaid)
    forget_cached(world)
    found = cli("audit", "-o", "json", env=env, check=9)
    document = found.json()
    assert list(document) == ["flightsChecked", "bookingsChecked", "violations", "repaired"]
    assert (document["flightsChecked"], document["bookingsChecked"], document["repaired"]) == (3, 2, [])
    assert document["violations"][0] == {
        "kind": "seat_count",
        "flightId": "F2",
        "bookingId": None,
        "detail": "5 seats available, 9 by its bookings and holds",
    }
    assert {(v["kind"], v["flightId"], v["bookingId"]) for v in document["violations"]} == {
        ("seat_count", "F2", None),
        ("double_payment", None, booking),
        ("unpaid_booking", None, unpaid),
    }
    assert found.error["code"] == "INVARIANT_VIOLATION"
    assert found.error["retryable"] is False

    repaired = cli("audit", "--repair", "-o", "json", "--actor", "ops", env=env, check=9)
    document = repaired.json()
    assert [v["kind"] for v in document["violations"]] == ["unpaid_booking"]
    assert len(document["repaired"]) == 2
    assert any("F2" in line for line in document["repaired"])
    assert any(booking in line for line in document["repaired"])
    assert world.available("F2") == [9]
    world.unchecked = "one violation is left for people"


def test_a_table_of_damage_is_readable(world: World, cli: Cli) -> None:
    world.line()
    shift(world, "F3", -1)
    forget_cached(world)
    found = cli("audit", env=world.backend.env, check=9)
    header, row = found.stdout.splitlines()
    assert header == "kind\tflightId\tbookingId\tdetail"
    assert row.split("\t")[:3] == ["seat_count", "F3", ""]
    assert "1 violation" in found.stderr
    mended = cli("audit", "--repair", env=world.backend.env)
    assert "repaired: flight F3" in mended.stderr
    assert world.available(DIRECT) == [9]


def test_ranges_cover_the_table_whatever_their_size(world: World) -> None:
    from flightctl.core.audit_ranges import ranges
    from flightctl.core.schema import flights

    world.line()
    ids = ["F1", "F2", "F3"]

    def cut(size: int) -> list[tuple[list[str], int]]:
        pieces = world.runtime.database.read(lambda tx: ranges(tx, flights.c.flight_id, size))
        return [([one for one in ids if piece.after < one <= piece.last], piece.rows) for piece in pieces]

    assert cut(1) == [(["F1"], 1), (["F2"], 1), (["F3"], 1)]
    assert cut(2) == [(["F1", "F2"], 2), (["F3"], 1)]
    assert cut(3) == cut(4) == [(ids, 3)]
    world.sql("DELETE FROM flights")
    assert cut(2) == []
