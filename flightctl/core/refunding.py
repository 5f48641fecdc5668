"""Money on its way back: refunds claimed and paid through the gateway, and the counter's closed by hand."""

from typing import Any

from sqlalchemy import bindparam, or_, select, update

from flightctl.core import money, records
from flightctl.core.claims import PROCESSOR
from flightctl.core.database import Operation, Transaction
from flightctl.core.errors import InvalidStateError
from flightctl.core.gateway import Gateway, MockGateway
from flightctl.core.identifiers import storable
from flightctl.core.index_hints import by_id
from flightctl.core.model.payments import RefundResult
from flightctl.core.model.states import PaymentSource, PaymentStatus, RefundStatus
from flightctl.core.runtime import Runtime
from flightctl.core.schema import payments, refunds
from flightctl.core.sql_functions import utc_now


def claim_refunds(runtime: Runtime, limit: int, booking_id: str | None) -> list[Any]:
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
        by_id(refunds, update(refunds))
        .where(refunds.c.refund_id == bindparam("id"), unclaimed)
        .values(claimed_until=utc_now(runtime.settings["payments.lease"]))
    )

    def work(tx: Transaction) -> list[Any]:
        rows = sorted(tx.execute(due).all(), key=lambda row: str(row.refund_id))
        return [row for row in rows if tx.change(claim, {"id": row.refund_id}) == 1]

    return runtime.database.run(work) if runtime.database.read(lambda tx: tx.execute(due).first()) else []


def pay_back(runtime: Runtime, gateway: Gateway, refund: Any) -> bool:
    if not gateway.refund(refund.refund_id, refund.payment_id, refund.amount):
        return False
    return runtime.database.run(
        lambda tx: _close_refund(tx, refund.booking_id, refund.refund_id, PROCESSOR, "through the gateway")
    )


def _close_refund(tx: Transaction, booking_id: str, refund_id: str, actor: str, how: str) -> bool:
    """Mark one refund PAID, and its payment REFUNDED when it was the last; False when it was PAID before."""
    booking = records.lock_booking(tx, booking_id)
    paid = tx.change(
        by_id(refunds, update(refunds))
        .where(refunds.c.refund_id == refund_id, refunds.c.status == RefundStatus.DUE.value)
        .values(status=RefundStatus.PAID.value, updated_at=utc_now(), claimed_until=None)
    )
    if paid != 1:
        return False
    refund = tx.execute(select(refunds).where(refunds.c.refund_id == refund_id)).one()
    row = money.require_payment(tx, refund.payment_id)
    if _refunds_due(tx, refund.payment_id):
        # Of two that close the last two refunds, on two servers of a cluster, one must meet the other in this row.
        tx.change(update(payments).where(payments.c.payment_id == row.payment_id).values(updated_at=utc_now()))
    elif PaymentStatus(row.status) is PaymentStatus.REFUND_DUE:
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


def _was_refunded(runtime: Runtime, payment_id: str) -> bool:
    """Whether a part of it was due back before."""
    known = select(refunds.c.refund_id).where(refunds.c.payment_id == payment_id).limit(1)
    return runtime.database.read(lambda tx: tx.execute(known).first()) is not None


def refund(runtime: Runtime, payment_id: str) -> RefundResult:
    """Pay back what is due of a payment: counter money is marked as handed out, other money goes through the gateway.

    Raises PaymentNotFoundError; InvalidStateError when nothing of it is due.
    """
    payment_id = storable(payment_id.strip())
    row = runtime.database.read(lambda tx: money.require_payment(tx, payment_id))
    due = runtime.database.read(lambda tx: _refunds_due(tx, payment_id))
    status = PaymentStatus(row.status)
    if not due and status is not PaymentStatus.REFUNDED and not _was_refunded(runtime, payment_id):
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
