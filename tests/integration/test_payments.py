"""The processor: charges, silence, crashes at every step, refunds; and the gateway's ledger, where nothing is twice."""

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest

from flightctl.core import lists, payments, records
from flightctl.core.claims import claim_payments
from flightctl.core.errors import BookingNotFoundError, FlightctlError, InvalidStateError, PaymentNotFoundError
from flightctl.core.gateway import MockGateway
from flightctl.core.model.payments import ProcessResult
from flightctl.core.model.states import ForcedOutcome
from flightctl.core.payments import process, run_once
from flightctl.core.refunding import refund
from flightctl.core.settlement import confirm
from tests.builders import LONG_AGO, TWO_LEGS, World, unchanged

TOTAL = Decimal("1000.00")


def counts(result: ProcessResult) -> dict[str, int]:
    """What is not zero."""
    assert result.errors == ()
    names = ("claimed", "succeeded", "failed", "timed_out", "refunded")
    return {name: value for name in names if (value := getattr(result, name))}


def lease_ran_out(world: World) -> None:
    for table in ("payments", "refunds"):
        world.sql(f"UPDATE {table} SET claimed_until = %s WHERE claimed_until IS NOT NULL", LONG_AGO)


# --- one payment -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "booking", "payment", "ledger", "free"),
    [
        (ForcedOutcome.SUCCESS, "CONFIRMED", "SUCCESS", "SUCCESS", 8),
        (ForcedOutcome.FAILURE, "FAILED", "FAILED", "FAILURE", 9),
        (ForcedOutcome.TIMEOUT, "PENDING", "PROCESSING", "TIMEOUT", 8),
    ],
)
def test_forced(world: World, outcome: ForcedOutcome, booking: str, payment: str, ledger: str, free: int) -> None:
    world.line()
    booked = world.booked()
    result = process(world.runtime, outcome=outcome)
    key = {"SUCCESS": "succeeded", "FAILURE": "failed", "TIMEOUT": "timed_out"}[ledger]
    assert counts(result) == {"claimed": 1, key: 1}
    assert world.status(booked) == booking
    assert world.paid(booked) == [payment]
    assert world.charges(world.payment(booked)) == [ledger]
    assert world.available("F1") == [free]
    assert counts(process(world.runtime, outcome=ForcedOutcome.SUCCESS)) == {}


@pytest.mark.parametrize("share", ["SUCCESS", "FAILURE", "TIMEOUT"])
def test_configured_shares(world: World, share: str) -> None:
    world.line()
    variables = {
        f"FLIGHTCTL_GATEWAY_{name}": "1" if name == share else "0" for name in ("SUCCESS", "FAILURE", "TIMEOUT")
    }
    bookings = [world.booked() for _ in range(3)]
    process(world.another(**variables))
    assert [world.charges(world.payment(booking)) for booking in bookings] == [[share]] * 3


def test_events_name_the_processor(world: World) -> None:
    world.line()
    booking = world.booked()
    process(world.runtime)
    assert world.moves(booking)[-1] == ("payment processor", "PENDING", "CONFIRMED")


def test_one_booking_only(world: World) -> None:
    world.line()
    one, two = world.booked(), world.booked()
    assert counts(process(world.runtime, booking_id=one.lower())) == {"claimed": 1, "succeeded": 1}
    assert (world.status(one), world.status(two)) == ("CONFIRMED", "PENDING")
    with pytest.raises(BookingNotFoundError):
        process(world.runtime, booking_id="ZZZZZZ")


def test_one_batch_and_all(world: World) -> None:
    world.line()
    bookings = [world.booked() for _ in range(7)]
    runtime = world.another(FLIGHTCTL_PAYMENTS_BATCH_SIZE="2")
    assert counts(process(runtime)) == {"claimed": 2, "succeeded": 2}
    assert counts(process(runtime, everything=True)) == {"claimed": 5, "succeeded": 5}
    assert {world.status(booking) for booking in bookings} == {"CONFIRMED"}


def test_everything_ends_although_nobody_answers(world: World) -> None:
    world.line()
    for _ in range(3):
        world.booked()
    runtime = world.another(FLIGHTCTL_PAYMENTS_BATCH_SIZE="1")
    assert counts(process(runtime, outcome=ForcedOutcome.TIMEOUT, everything=True)) == {"claimed": 3, "timed_out": 3}


def test_everything_includes_the_refunds_that_it_causes(world: World) -> None:
    world.line()
    for _ in range(3):
        world.callback(world.confirmed(), "SUCCESS", None)
    for (booking,) in world.sql("SELECT booking_id FROM bookings"):
        world.callback(booking, "SUCCESS", f"pay-{booking}")
    runtime = world.another(FLIGHTCTL_PAYMENTS_BATCH_SIZE="1")
    assert counts(process(runtime, everything=True)) == {"refunded": 3}
    assert world.one("SELECT COUNT(*) FROM refunds WHERE status = 'DUE'") == 0


@pytest.mark.parametrize("end", ["lapsed", "half lapsed", "released", "expired", "failed", "confirmed"])
def test_what_is_not_due_is_never_charged(world: World, end: str) -> None:
    world.line()
    booking = world.booked(TWO_LEGS)
    payment = world.payment(booking)
    if end == "lapsed":
        world.lapse(booking)
    elif end == "half lapsed":  # the sweep will end it whole
        world.sql("UPDATE seat_reservations SET expires_at = %s WHERE flight_id = 'F1'", LONG_AGO)
    elif end == "released":
        world.release(booking)
    elif end == "expired":
        world.lapse(booking)
        world.sweep()
    elif end == "failed":
        world.callback(booking, "FAILURE")
    else:
        confirm(world.runtime, booking)
    unchanged(world, lambda: process(world.runtime, everything=True))
    assert world.charges(payment) == []
    wanted = {"lapsed": "REQUESTED", "half lapsed": "REQUESTED", "failed": "FAILED", "confirmed": "SUCCESS"}.get(
        end, "CANCELLED"
    )
    assert world.paid(booking) == [wanted]
    world.sweep()
    assert world.status(booking) != "PENDING"


# --- silence ---------------------------------------------------------------------------------------------------------


def test_nobody_answers_then_the_hold_expires_then_the_money_comes(world: World) -> None:
    world.line()
    booking = world.booked(TWO_LEGS)
    payment = world.payment(booking)
    process(world.runtime, outcome=ForcedOutcome.TIMEOUT)
    world.lapse(booking)
    world.sweep()
    assert world.status(booking) == "EXPIRED"
    assert world.paid(booking) == ["PROCESSING"]
    assert world.available("F1", "F2") == [9, 9]
    result = world.callback(booking, "SUCCESS", payment)
    assert (result.booking_status, result.payment_status) == ("CONFIRMED", "SUCCESS")
    assert world.available("F1", "F2") == [8, 8]


def test_nobody_answers_and_the_seats_are_gone_when_the_money_comes(world: World) -> None:
    world.line(seats=1)
    booking = world.booked()
    payment = world.payment(booking)
    process(world.runtime, outcome=ForcedOutcome.TIMEOUT)
    world.lapse(booking)
    world.sweep()
    world.confirmed(user="u2")
    assert world.callback(booking, "SUCCESS", payment).payment_status == "REFUND_DUE"
    assert counts(process(world.runtime)) == {"refunded": 1}
    assert world.paid(booking) == ["REFUNDED"]


def test_silence_is_asked_again_after_the_lease_and_repeats_itself(world: World) -> None:
    world.line()
    booking = world.booked()
    process(world.runtime, outcome=ForcedOutcome.TIMEOUT)
    lease_ran_out(world)
    result = process(world.runtime, outcome=ForcedOutcome.SUCCESS)
    assert counts(result) == {"claimed": 1, "timed_out": 1}
    assert world.charges(world.payment(booking)) == ["TIMEOUT"]
    assert world.one("SELECT attempts FROM payments") == 2


def test_silence_is_asked_ever_more_rarely(world: World) -> None:
    world.line()
    world.booked()
    gaps = []
    for _ in range(3):
        process(world.runtime, outcome=ForcedOutcome.TIMEOUT)
        now = "UTC_TIMESTAMP(6)" if not world.backend.is_sqlite else "strftime('%Y-%m-%d %H:%M:%f', 'now')"
        diff = f"TIMESTAMPDIFF(SECOND, {now}, claimed_until)"
        if world.backend.is_sqlite:
            diff = f"(julianday(claimed_until) - julianday({now})) * 86400"
        gaps.append(float(world.one(f"SELECT {diff} FROM payments")))
        lease_ran_out(world)
    assert gaps == pytest.approx([30, 60, 120], abs=5)


def test_silence_is_given_up_once_the_booking_is_old_and_over(world: World) -> None:
    world.line()
    booking = world.booked()
    payment = world.payment(booking)
    process(world.runtime, outcome=ForcedOutcome.TIMEOUT)
    world.lapse(booking)
    world.sweep()
    lease_ran_out(world)
    process(world.runtime)
    assert world.paid(booking) == ["PROCESSING"]  # it is not old
    world.sql("UPDATE payments SET created_at = %s", LONG_AGO)
    lease_ran_out(world)
    process(world.runtime)
    assert world.paid(booking) == ["FAILED"]
    # It had no FAILURE of its own: money that comes all the same may still buy the seats.
    assert world.callback(booking, "SUCCESS", payment).booking_status == "CONFIRMED"


# --- crashes ---------------------------------------------------------------------------------------------------------


class Crash(BaseException):
    """The process ends here."""


def crash_after(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, *, before: bool = False) -> None:
    """The first call of ``owner.name`` ends the process, after its work or before."""
    real = getattr(owner, name)

    def crashing(*args: Any, **more: Any) -> Any:
        monkeypatch.setattr(owner, name, real)
        if not before:
            real(*args, **more)
        raise Crash

    monkeypatch.setattr(owner, name, crashing)


STEPS = [
    ("claimed", MockGateway, "charge_all", True),
    ("charged", MockGateway, "charge_all", False),
    ("stored", payments, "confirm_paid", True),
    ("delivered", payments, "_settle_all", False),
]


@pytest.mark.parametrize("outcome", [ForcedOutcome.SUCCESS, ForcedOutcome.FAILURE])
@pytest.mark.parametrize(("step", "owner", "name", "before"), STEPS, ids=[step[0] for step in STEPS])
def test_a_dead_processors_payment_is_taken_over(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    outcome: ForcedOutcome,
    step: str,
    owner: Any,
    name: str,
    before: bool,
) -> None:
    """By another, once the lease has run out, and without a second charge: the first answer stands."""
    world.line()
    booking = world.booked()
    payment = world.payment(booking)
    crash_after(monkeypatch, owner, name, before=before)
    with pytest.raises(Crash):
        process(world.runtime, outcome=outcome)
    assert counts(process(world.runtime, outcome=outcome)) == {}  # the lease still runs
    lease_ran_out(world)
    other = ForcedOutcome.FAILURE if outcome is ForcedOutcome.SUCCESS else ForcedOutcome.SUCCESS
    result = process(world.runtime, outcome=outcome if step == "claimed" else other)
    assert result.claimed == (step != "delivered")
    assert world.charges(payment) == [outcome.name]
    assert world.status(booking) == ("CONFIRMED" if outcome is ForcedOutcome.SUCCESS else "FAILED")


@pytest.mark.parametrize("end", ["expired", "released"])
def test_an_ended_booking_is_never_asked_for(world: World, monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    """The processor died between its claim and the gateway; then the booking ended. The charge is closed as failed."""
    world.line()
    booking = world.booked()
    payment = world.payment(booking)
    crash_after(monkeypatch, MockGateway, "charge_all", before=True)
    with pytest.raises(Crash):
        process(world.runtime)
    if end == "released":
        world.release(booking)
    else:
        world.lapse(booking)
        world.sweep()
    lease_ran_out(world)
    process(world.runtime, outcome=ForcedOutcome.SUCCESS)
    assert world.charges(payment) == ["FAILURE"]
    assert world.paid(booking) == ["FAILED"]
    unchanged(world, lambda: process(world.runtime, everything=True))


@pytest.mark.parametrize("end", ["expired", "released", "counter"])
def test_money_of_a_dead_processor_is_found_although_the_booking_has_ended(
    world: World, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    world.line()
    booking = world.booked()
    payment = world.payment(booking)
    crash_after(monkeypatch, MockGateway, "charge_all")
    with pytest.raises(Crash):
        process(world.runtime, outcome=ForcedOutcome.SUCCESS)
    if end == "released":
        world.release(booking)
    elif end == "counter":
        confirm(world.runtime, booking)
    else:
        world.lapse(booking)
        world.sweep()
    lease_ran_out(world)
    process(world.runtime, everything=True)
    assert world.charges(payment) == ["SUCCESS"]
    wanted = {"expired": "SUCCESS", "released": "REFUNDED", "counter": "REFUNDED"}[end]
    assert world.payments(booking)[payment] == (wanted, "GATEWAY")
    assert world.status(booking) == {"expired": "CONFIRMED", "released": "CANCELLED", "counter": "CONFIRMED"}[end]


def test_a_stored_answer_is_delivered_without_asking(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.line()
    booking = world.booked()
    world.sql("UPDATE payments SET status = 'PROCESSING', claimed_until = %s, outcome = 'SUCCESS'", LONG_AGO)
    monkeypatch.setattr(MockGateway, "charge", lambda *_: pytest.fail("the gateway was asked"))
    assert counts(process(world.runtime)) == {"claimed": 1, "succeeded": 1}
    assert world.status(booking) == "CONFIRMED"


def test_a_claim_without_a_lease_is_taken_over(world: World) -> None:
    world.line()
    booking = world.booked()
    world.sql("UPDATE payments SET status = 'PROCESSING', claimed_until = NULL")
    process(world.runtime)
    assert world.status(booking) == "CONFIRMED"


@pytest.mark.parametrize(("name", "before"), [("refund", True), ("refund", False)])
def test_a_dead_processors_refund_is_taken_over(
    world: World, monkeypatch: pytest.MonkeyPatch, name: str, before: bool
) -> None:
    world.line()
    booking = world.confirmed()
    world.release(booking)
    crash_after(monkeypatch, MockGateway, name, before=before)
    with pytest.raises(Crash):
        process(world.runtime)
    assert world.paid(booking) == ["REFUND_DUE"]
    assert counts(process(world.runtime)) == {}
    lease_ran_out(world)
    assert counts(process(world.runtime)) == {"refunded": 1}
    assert world.paid(booking) == ["REFUNDED"]
    assert world.one("SELECT COUNT(*) FROM mock_gateway_ledger WHERE kind = 'REFUND'") == 1


def test_what_fails_for_one_payment_is_told_and_stops_no_other(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.line()
    bookings = [world.booked() for _ in range(3)]
    bad = world.payment(bookings[1])
    charge = MockGateway.charge

    def failing(self: MockGateway, payment_id: str, *args: Any) -> Any:
        if payment_id == bad:
            raise FlightctlError("the gateway is ill")
        return charge(self, payment_id, *args)

    def failing_together(self: MockGateway, amounts: Any, *args: Any) -> Any:
        return {payment_id: failing(self, payment_id, amount, *args) for payment_id, amount in amounts.items()}

    monkeypatch.setattr(MockGateway, "charge", failing)
    monkeypatch.setattr(MockGateway, "charge_all", failing_together)
    result = process(world.runtime, everything=True)
    assert result.errors == (f"{bad}: the gateway is ill",)
    assert (result.claimed, result.succeeded) == (2, 2)
    monkeypatch.undo()
    lease_ran_out(world)
    assert counts(process(world.runtime)) == {"claimed": 1, "succeeded": 1}


def test_stopping_ends_what_is_claimed_and_claims_no_more(world: World) -> None:
    """Told to stop right after the claim: nobody else could settle these before their lease has run out."""
    world.line()
    for _ in range(3):
        world.booked()
    world.release(world.confirmed("F2"))
    told = iter([False])
    assert counts(run_once(world.runtime, limit=2, stopping=lambda: next(told, True))) == {"claimed": 2, "succeeded": 2}
    assert counts(run_once(world.runtime, limit=2, stopping=lambda: True)) == {}
    assert counts(process(world.runtime)) == {"claimed": 1, "succeeded": 1, "refunded": 1}


# --- two processors --------------------------------------------------------------------------------------------------


def test_two_processors_share_the_work(world: World) -> None:
    world.line(seats=40)
    bookings = [world.booked() for _ in range(24)]
    for booking in bookings[:8]:
        world.callback(booking)
        world.release(booking)
    runtimes = [world.another(FLIGHTCTL_PAYMENTS_BATCH_SIZE="3") for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda runtime: process(runtime, everything=True), runtimes))
    assert [result.errors for result in results] == [(), ()]
    assert sum(result.claimed for result in results) == 16
    assert sum(result.refunded for result in results) == 8
    assert world.one("SELECT MAX(attempts) FROM payments") == 1
    assert world.one("SELECT COUNT(*) FROM mock_gateway_ledger") == 24


def test_two_claims_at_once_are_disjoint(world: World) -> None:
    world.line(seats=30)
    for _ in range(10):
        world.booked()
    runtimes = [world.another() for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        claims = list(pool.map(lambda runtime: claim_payments(runtime, 4), runtimes))
    ids = [claim.payment_id for batch in claims for claim in batch]
    assert len(ids) == len(set(ids))
    assert world.one("SELECT COUNT(*) FROM payments WHERE status = 'PROCESSING'") == len(ids)


def test_the_gateway_asked_twice_at_once_charges_once(world: World) -> None:
    gateways = [MockGateway(world.another().database, world.backend.settings()) for _ in range(4)]
    world.line()
    payment = world.payment(world.booked())
    outcomes = [ForcedOutcome.SUCCESS, ForcedOutcome.FAILURE] * 2
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda g, o: g.charge(payment, TOTAL, o), gateways, outcomes))
    assert len(set(answers)) == 1
    assert len(world.charges(payment)) == 1
    world.unchecked = "the gateway was asked behind the booking's back"


# --- refunds ---------------------------------------------------------------------------------------------------------


def test_gateway_refund_by_the_processor(world: World) -> None:
    world.line()
    booking = world.booked()
    process(world.runtime)
    world.release(booking)
    assert world.refunds(booking) == [(TOTAL, "DUE")]
    assert counts(process(world.runtime, booking_id=booking)) == {"refunded": 1}
    assert world.refunds(booking) == [(TOTAL, "PAID")]
    assert world.paid(booking) == ["REFUNDED"]
    assert world.moves(booking)[-1] == ("payment processor", "CANCELLED", "CANCELLED")
    assert sorted(row[0] for row in world.sql("SELECT kind FROM mock_gateway_ledger")) == ["CHARGE", "REFUND"]
    unchanged(world, lambda: process(world.runtime, everything=True))


def test_gateway_refund_by_an_agent(world: World) -> None:
    world.line()
    booking = world.confirmed()
    payment = world.payment(booking)
    world.release(booking)
    result = refund(world.runtime, f" {payment} ")
    assert (result.changed, result.payment.status) == (True, "REFUNDED")
    assert world.one("SELECT kind FROM mock_gateway_ledger") == "REFUND"
    again = unchanged(world, lambda: refund(world.runtime, payment))
    assert (again.changed, again.payment.status) == (False, "REFUNDED")


def test_counter_money_goes_back_by_hand_only(world: World) -> None:
    world.line()
    booking = world.booked()
    confirm(world.runtime, booking)
    payment = world.payment(booking)
    world.release(booking)
    assert world.payments(booking) == {payment: ("REFUND_DUE", "AGENT")}
    unchanged(world, lambda: process(world.runtime, everything=True))
    unchanged(world, lambda: process(world.runtime, booking_id=booking))
    assert refund(world.runtime, payment).changed
    assert world.payments(booking) == {payment: ("REFUNDED", "AGENT")}
    assert world.one("SELECT COUNT(*) FROM mock_gateway_ledger") == 0
    assert world.moves(booking)[-1] == ("agent", "CANCELLED", "CANCELLED")


@pytest.mark.parametrize("state", ["REQUESTED", "PROCESSING", "SUCCESS", "FAILED", "CANCELLED"])
def test_nothing_is_due_back(world: World, state: str) -> None:
    world.line()
    booking = world.booked()
    if state == "PROCESSING":
        process(world.runtime, outcome=ForcedOutcome.TIMEOUT)
    elif state == "SUCCESS":
        world.callback(booking)
    elif state == "FAILED":
        world.callback(booking, "FAILURE")
    elif state == "CANCELLED":
        world.release(booking)
    assert world.paid(booking) == [state]
    with pytest.raises(InvalidStateError):
        unchanged(world, lambda: refund(world.runtime, world.payment(booking)))


@pytest.mark.parametrize("payment", ["", "pay-nosuch", "x" * 10_000, "\udc80"])
def test_unknown_payment(world: World, payment: str) -> None:
    with pytest.raises(PaymentNotFoundError):
        refund(world.runtime, payment)


def test_refund_at_once_pays_once(world: World) -> None:
    world.line()
    booking = world.confirmed()
    payment = world.payment(booking)
    world.release(booking)
    runtimes = [world.another() for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda runtime: refund(runtime, payment), runtimes))
    assert [result.changed for result in results].count(True) == 1
    assert {result.payment.status for result in results} == {"REFUNDED"}
    assert world.refunds(booking) == [(TOTAL, "PAID")]


def test_a_partial_refund_of_before_is_not_paid_twice(world: World) -> None:
    """Refunds together never exceed the payment, whoever wrote the first of them."""
    world.line()
    booking = world.confirmed()
    payment = world.payment(booking)
    world.sql(
        "INSERT INTO refunds (refund_id, payment_id, amount, status, created_at, updated_at)"
        " VALUES ('ref-goodwill', %s, %s, 'PAID', %s, %s)",
        payment,
        world.money("300.50"),
        LONG_AGO,
        LONG_AGO,
    )
    world.sql(
        "INSERT INTO mock_gateway_ledger (request_id, kind, amount, outcome, created_at)"
        " VALUES ('ref-goodwill', 'REFUND', %s, 'SUCCESS', %s)",
        world.money("300.50"),
        LONG_AGO,
    )
    world.release(booking)
    assert world.refunds(booking) == [(Decimal("300.50"), "PAID"), (Decimal("699.50"), "DUE")]
    assert counts(process(world.runtime)) == {"refunded": 1}
    assert world.paid(booking) == ["REFUNDED"]


def test_both_are_listed(world: World) -> None:
    from flightctl.core.lists import list_payments

    world.line()
    one, two = world.confirmed(), world.confirmed()
    world.release(one)
    process(world.runtime)
    world.release(two)

    def ids(status: str) -> list[str]:
        return [p.payment_id for p in list_payments(world.runtime, status=status, page=0, size=50).content]  # type: ignore[attr-defined]

    assert ids("refund_due") == [world.payment(two)]
    assert ids("REFUNDED") == [world.payment(one)]


def test_money_of_a_dead_processor_that_was_reported_as_failed_is_late_money(world: World) -> None:
    """The gateway has charged, its processor died before it stored the answer, and somebody reports a failure."""
    world.line()
    booking = world.booked("F1")
    payment = world.runtime.database.read(lambda tx: records.load_booking(tx, booking).payment_id)
    claims = claim_payments(world.runtime, 10)
    assert [claim.payment_id for claim in claims] == [payment]
    MockGateway(world.runtime.database, world.runtime.settings).charge(payment, claims[0].amount, None)
    assert world.callback(booking, "FAILURE").payment_status == "FAILED"
    assert payments.process(world.runtime, everything=True).refunded == 0  # its processor may be alive: the lease runs
    world.sql("UPDATE payments SET claimed_until = '2020-01-01 00:00:00.000000'")
    assert payments.process(world.runtime, everything=True).refunded == 1
    assert lists.show_payment(world.runtime, payment).status == "REFUNDED"


def test_a_reported_failure_that_no_gateway_contradicts_stays_one(world: World) -> None:
    world.line()
    booking = world.booked("F1")
    claim_payments(world.runtime, 10)
    assert world.callback(booking, "FAILURE").payment_status == "FAILED"
    world.sql("UPDATE payments SET claimed_until = '2020-01-01 00:00:00.000000'")
    assert payments.process(world.runtime, everything=True).refunded == 0
    assert world.sql("SELECT status, claimed_until FROM payments") == [("FAILED", None)]
