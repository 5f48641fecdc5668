"""The payment processor: claim, call the gateway, store its answer, deliver it. Every step may be repeated.

A claim is a lease: a processor that dies leaves PROCESSING payments that another takes over when the lease has run
out. The gateway is idempotent by payment id, so that asking again learns the first answer and charges nothing.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import reduce
from typing import Any, Final

from sqlalchemy import bindparam, or_, select, update

from flightctl.core import money, records
from flightctl.core.database import Operation, Transaction
from flightctl.core.errors import FlightctlError, InvalidStateError
from flightctl.core.gateway import Gateway, MockGateway
from flightctl.core.identifiers import normal_id, storable
from flightctl.core.model import (
    BookingStatus,
    CallbackStatus,
    ForcedOutcome,
    PaymentSource,
    PaymentStatus,
    ProcessResult,
    RefundResult,
    RefundStatus,
)
from flightctl.core.runtime import Runtime
from flightctl.core.schema import bookings, payments, refunds, seat_reservations, utc_now
from flightctl.core.settlement import deliver, receive_failure, receive_success

PROCESSOR: Final = "payment processor"
_MAX_LEASE: Final = 3600.0
_CROWD: Final = 8
"""Processors that find work side by side."""
WORKERS: Final = 8
"""Threads that ask a gateway with a delay; each holds a connection for moments only, the pool has room for all."""

_HOLD_RUNS: Final = (
    select(seat_reservations.c.id)
    .where(
        seat_reservations.c.booking_id == payments.c.booking_id,
        seat_reservations.c.deleted_at.is_(None),
        seat_reservations.c.expires_at > utc_now(),
    )
    .exists()
)
_BOOKING_PENDING: Final = (
    select(bookings.c.booking_id)
    .where(bookings.c.booking_id == payments.c.booking_id, bookings.c.status == BookingStatus.PENDING.value)
    .exists()
)
_NEW: Final = (payments.c.status == PaymentStatus.REQUESTED.value) & _BOOKING_PENDING & _HOLD_RUNS
_ABANDONED: Final = (payments.c.status == PaymentStatus.PROCESSING.value) & or_(
    payments.c.claimed_until.is_(None), payments.c.claimed_until <= utc_now()
)

_DISPUTED: Final = (payments.c.status == PaymentStatus.FAILED.value) & (payments.c.claimed_until <= utc_now())


@dataclass(frozen=True, slots=True)
class _Claim:
    payment_id: str
    booking_id: str
    amount: Decimal
    outcome: str | None
    recovered: bool


def process(
    runtime: Runtime, *, booking_id: str | None = None, outcome: ForcedOutcome | None = None, everything: bool = False
) -> ProcessResult:
    """One batch of due payments and refunds, or with ``everything`` batches until none is due.

    ``outcome`` forces what the mock answers to charges it has not seen. Raises BookingNotFoundError; what fails for one
    payment is told in ``errors`` and tried again when its lease has run out.
    """
    if booking_id is not None:
        booking_id = normal_id(booking_id)
        wanted = booking_id
        runtime.database.read(lambda tx: records.load_booking(tx, wanted))
    total = ProcessResult()
    while True:
        batch = run_once(runtime, limit=runtime.settings["payments.batch_size"], booking_id=booking_id, outcome=outcome)
        total = _sum(total, batch)
        if not everything or batch.claimed + batch.refunded == 0 or batch.errors:
            return total


def _sum(one: ProcessResult, two: ProcessResult) -> ProcessResult:
    return ProcessResult(
        one.claimed + two.claimed,
        one.succeeded + two.succeeded,
        one.failed + two.failed,
        one.timed_out + two.timed_out,
        one.refunded + two.refunded,
        one.errors + two.errors,
    )


def run_once(
    runtime: Runtime,
    *,
    limit: int,
    booking_id: str | None = None,
    outcome: ForcedOutcome | None = None,
    stopping: Callable[[], bool] = lambda: False,
) -> ProcessResult:
    """Claim up to ``limit`` due payments and refunds and bring each to its end; ``stopping`` ends the round early."""
    gateway = MockGateway(runtime.database, runtime.settings)

    def settle(claim: _Claim) -> ProcessResult:
        if stopping():  # what stays claimed is taken over when its lease has run out
            return ProcessResult()
        try:
            answer = _settle(runtime, gateway, claim, outcome)
        except FlightctlError as error:
            return ProcessResult(errors=(f"{claim.payment_id}: {error.message}",))
        return ProcessResult(
            claimed=1,
            succeeded=int(answer is CallbackStatus.SUCCESS),
            failed=int(answer is CallbackStatus.FAILURE),
            timed_out=int(answer is None),
        )

    def pay_back(refund: Any) -> ProcessResult:
        if stopping():
            return ProcessResult()
        try:
            return ProcessResult(refunded=int(_pay_back(runtime, gateway, refund)))
        except FlightctlError as error:
            return ProcessResult(errors=(f"{refund.refund_id}: {error.message}",))

    delay: float = runtime.settings["gateway.delay"]
    claims = _claim_payments(runtime, _affordable(runtime, limit, delay), booking_id)
    parts = _in_parallel(settle, claims) if delay else [settle(claim) for claim in claims]
    _reconcile(runtime, gateway, limit, booking_id)
    parts += [pay_back(refund) for refund in _claim_refunds(runtime, limit, booking_id)]
    return reduce(_sum, parts, ProcessResult())


def _affordable(runtime: Runtime, limit: int, delay: float) -> int:
    """How many payments can be brought to their end within half a lease; one round of the workers at least."""
    if not delay:
        return limit
    rounds = max(1, int(runtime.settings["payments.lease"] / 2 / delay))
    return min(limit, rounds * WORKERS)


def _in_parallel(settle: Callable[[_Claim], ProcessResult], claims: Sequence[_Claim]) -> list[ProcessResult]:
    """A gateway that takes its time is asked by several threads at once."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(WORKERS, thread_name_prefix="gateway") as pool:
        return list(pool.map(settle, claims))


def _claim_payments(runtime: Runtime, limit: int, booking_id: str | None) -> list[_Claim]:
    """Lease due payments, by UPDATEs that test again what made them due: no two processors get the same one.

    Processors that look at once see the same payments, and all but one would go away empty: each takes its own choice
    out of more than it wants.
    """
    lease = runtime.settings["payments.lease"]
    due = select(payments.c.payment_id, payments.c.status, payments.c.attempts).where(or_(_NEW, _ABANDONED))
    if booking_id is not None:
        due = due.where(payments.c.booking_id == booking_id)
    due = due.order_by(payments.c.created_at).limit(limit * _CROWD)

    def work(tx: Transaction) -> list[_Claim]:
        claims = []
        rows = tx.execute(due).all()
        if len(rows) > limit:
            rows = random.sample(rows, limit)
        for row in sorted(rows, key=lambda row: str(row.payment_id)):
            was_requested = row.status == PaymentStatus.REQUESTED.value
            changed = tx.change(
                update(payments)
                .where(payments.c.payment_id == row.payment_id, _NEW if was_requested else _ABANDONED)
                .values(
                    status=PaymentStatus.PROCESSING.value,
                    # An unanswered payment is asked for ever more rarely.
                    claimed_until=utc_now(min(_MAX_LEASE, lease * 2 ** min(row.attempts, 12))),
                    attempts=payments.c.attempts + 1,
                    updated_at=utc_now() if was_requested else payments.c.updated_at,
                )
            )
            if changed == 1:
                fresh = money.require_payment(tx, row.payment_id)
                claims.append(
                    _Claim(fresh.payment_id, fresh.booking_id, fresh.amount, fresh.outcome, not was_requested)
                )
        return claims

    return runtime.database.run(work) if runtime.database.read(lambda tx: tx.execute(due).first()) else []


def _settle(runtime: Runtime, gateway: Gateway, claim: _Claim, forced: ForcedOutcome | None) -> CallbackStatus | None:
    """Get the gateway's answer, store it (the money's fact first), deliver it (the seat second)."""
    answer = CallbackStatus(claim.outcome) if claim.outcome else _ask(runtime, gateway, claim, forced)
    if answer is None:
        _give_up_if_old(runtime, claim)
        return None
    if claim.outcome is None:
        runtime.database.run(lambda tx: money.store_answer(tx, claim.payment_id, answer))
    message = None if answer is CallbackStatus.SUCCESS else "declined by the gateway"
    apply = receive_success if answer is CallbackStatus.SUCCESS else receive_failure

    def work(tx: Transaction) -> bool:
        booking = records.lock_booking(tx, claim.booking_id)
        row = money.require_payment(tx, claim.payment_id)
        return apply(tx, booking, row, actor=PROCESSOR, message=message)

    deliver(runtime, claim.booking_id, work)
    return answer


def _ask(runtime: Runtime, gateway: Gateway, claim: _Claim, forced: ForcedOutcome | None) -> CallbackStatus | None:
    """Charge; but of a payment taken over whose booking has ended, close the charge: a processor that is not dead but
    slow then learns that it failed."""
    if claim.recovered:
        booking = runtime.database.read(lambda tx: records.load_booking(tx, claim.booking_id))
        if booking.status is not BookingStatus.PENDING:
            return gateway.void(claim.payment_id, claim.amount)
    return gateway.charge(claim.payment_id, claim.amount, forced)


def _give_up_if_old(runtime: Runtime, claim: _Claim) -> None:
    """Stop asking for a payment of an ended booking after ``payments.abandon_after``. Should money come all the same,
    the callback table decides: such a payment has no FAILURE of its own."""
    old = utc_now(-runtime.settings["payments.abandon_after"])
    is_old = select(payments.c.payment_id).where(
        payments.c.payment_id == claim.payment_id, payments.c.created_at < old, ~_BOOKING_PENDING
    )
    if runtime.database.read(lambda tx: tx.execute(is_old).first()) is not None:
        _fail(runtime, claim, "the gateway never answered")


def _fail(runtime: Runtime, claim: _Claim, why: str) -> None:
    def work(tx: Transaction) -> None:
        booking = records.lock_booking(tx, claim.booking_id)
        row = money.require_payment(tx, claim.payment_id)
        if PaymentStatus(row.status) is PaymentStatus.PROCESSING and row.outcome is None:
            money.move_payment(tx, row, PaymentStatus.FAILED, message=why)
            status = booking.status
            records.add_event(
                tx, booking.id, status, status, actor=PROCESSOR, reason=f"payment {row.payment_id} given up: {why}"
            )

    runtime.database.run(work)


def _reconcile(runtime: Runtime, gateway: Gateway, limit: int, booking_id: str | None) -> None:
    """Ask the gateway for payments that were reported as failed while a processor had them, and died with them: had it
    been charged after all, that is late money."""
    due = select(payments.c.payment_id, payments.c.booking_id, payments.c.amount).where(_DISPUTED)
    if booking_id is not None:
        due = due.where(payments.c.booking_id == booking_id)
    for row in runtime.database.read(lambda tx: tx.execute(due.limit(limit)).all()):
        answer = gateway.void(row.payment_id, row.amount)

        def work(tx: Transaction, row: Any = row, answer: CallbackStatus | None = answer) -> None:
            booking = records.lock_booking(tx, row.booking_id)
            payment = money.require_payment(tx, row.payment_id)
            if answer is CallbackStatus.SUCCESS:
                receive_success(tx, booking, payment, actor=PROCESSOR)
            tx.change(
                update(payments).where(payments.c.payment_id == row.payment_id, _DISPUTED).values(claimed_until=None)
            )

        runtime.database.run(work)


def _claim_refunds(runtime: Runtime, limit: int, booking_id: str | None) -> list[Any]:
    """Lease refunds that are due through the gateway; counter money is paid out by hand."""
    unclaimed = (refunds.c.status == RefundStatus.DUE.value) & or_(
        refunds.c.claimed_until.is_(None), refunds.c.claimed_until <= utc_now()
    )
    due = (
        select(refunds.c.refund_id, refunds.c.payment_id, refunds.c.amount, payments.c.booking_id)
        .join(payments, payments.c.payment_id == refunds.c.payment_id)
        .where(unclaimed, payments.c.source == PaymentSource.GATEWAY.value)
    )
    if booking_id is not None:
        due = due.where(payments.c.booking_id == booking_id)
    due = due.order_by(refunds.c.created_at).limit(limit)
    claim = (
        update(refunds)
        .where(refunds.c.refund_id == bindparam("id"), unclaimed)
        .values(claimed_until=utc_now(runtime.settings["payments.lease"]))
    )

    def work(tx: Transaction) -> list[Any]:
        rows = sorted(tx.execute(due).all(), key=lambda row: str(row.refund_id))
        return [row for row in rows if tx.change(claim, {"id": row.refund_id}) == 1]

    return runtime.database.run(work) if runtime.database.read(lambda tx: tx.execute(due).first()) else []


def _pay_back(runtime: Runtime, gateway: Gateway, refund: Any) -> bool:
    if not gateway.refund(refund.refund_id, refund.payment_id, refund.amount):
        return False
    return runtime.database.run(
        lambda tx: _close_refund(tx, refund.booking_id, refund.refund_id, PROCESSOR, "through the gateway")
    )


def _close_refund(tx: Transaction, booking_id: str, refund_id: str, actor: str, how: str) -> bool:
    """Mark one refund PAID, and its payment REFUNDED when it was the last; False when it was PAID before."""
    booking = records.lock_booking(tx, booking_id)
    paid = tx.change(
        update(refunds)
        .where(refunds.c.refund_id == refund_id, refunds.c.status == RefundStatus.DUE.value)
        .values(status=RefundStatus.PAID.value, updated_at=utc_now(), claimed_until=None)
    )
    if paid != 1:
        return False
    refund = tx.execute(select(refunds).where(refunds.c.refund_id == refund_id)).one()
    row = money.require_payment(tx, refund.payment_id)
    if not _refunds_due(tx, refund.payment_id) and PaymentStatus(row.status) is PaymentStatus.REFUND_DUE:
        money.move_payment(tx, row, PaymentStatus.REFUNDED)
    reason = f"{refund.amount} of payment {refund.payment_id} paid back {how}"
    records.add_event(tx, booking.id, booking.status, booking.status, actor=actor, reason=reason)
    return True


def _refunds_due(tx: Transaction, payment_id: str) -> list[Any]:
    return list(
        tx.execute(
            select(refunds)
            .where(refunds.c.payment_id == payment_id, refunds.c.status == RefundStatus.DUE.value)
            .order_by(refunds.c.refund_id)
        ).all()
    )


def refund(runtime: Runtime, payment_id: str) -> RefundResult:
    """Pay back what is due of a payment: counter money is marked as handed out, other money goes through the gateway.

    Raises PaymentNotFoundError; InvalidStateError when nothing of it is due.
    """
    payment_id = storable(payment_id.strip())
    row = runtime.database.read(lambda tx: money.require_payment(tx, payment_id))
    due = runtime.database.read(lambda tx: _refunds_due(tx, payment_id))
    status = PaymentStatus(row.status)
    if not due and status is not PaymentStatus.REFUNDED:
        raise InvalidStateError(
            f"payment {payment_id} is {status.value}: nothing of it is due back",
            hint="A CONFIRMED booking's money falls due when the booking is released.",
            details={"paymentId": payment_id, "status": status.value},
        )
    gateway = MockGateway(runtime.database, runtime.settings)
    by_hand = PaymentSource(row.source) is PaymentSource.AGENT
    operation = Operation()
    changed = False
    for item in due:
        if by_hand or gateway.refund(item.refund_id, payment_id, item.amount):
            how = "by hand" if by_hand else "through the gateway"
            changed |= runtime.database.run(
                lambda tx, item=item, how=how: (  # type: ignore[misc]
                    _close_refund(tx, row.booking_id, item.refund_id, runtime.actor, how)
                    or records.done_before(tx, row.booking_id)
                ),
                operation=operation,
            )
    payment = runtime.database.read(lambda tx: money.to_payment(tx, money.require_payment(tx, payment_id)))
    return RefundResult(payment, changed)
