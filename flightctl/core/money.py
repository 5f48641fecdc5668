"""Rows of payments and refunds: guarded moves between states, and money that must go back."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import Boolean, bindparam, case, func, insert, select, update

from flightctl.core.database import Conflict, Transaction
from flightctl.core.errors import PaymentNotFoundError
from flightctl.core.identifiers import new_refund_id
from flightctl.core.index_hints import by_booking, by_id
from flightctl.core.model.payments import Payment
from flightctl.core.model.states import PAYMENT_TRANSITIONS, CallbackStatus, PaymentSource, PaymentStatus, RefundStatus
from flightctl.core.refund_rules import part_of
from flightctl.core.schema import payments, refunds
from flightctl.core.sql_functions import utc_now

_PAYMENT: Final = select(payments).where(payments.c.payment_id == bindparam("id"))
_OF_BOOKING: Final = (
    select(payments)
    .where(payments.c.booking_id == bindparam("booking"))
    .order_by(payments.c.created_at.desc(), payments.c.payment_id.desc())
)
_MOVE: Final = by_id(
    payments,
    update(payments)
    .where(payments.c.payment_id == bindparam("id"), payments.c.status == bindparam("old"))
    .values(
        status=bindparam("new"),
        source=bindparam("new_source"),
        message=func.coalesce(bindparam("text"), payments.c.message),
        updated_at=utc_now(),
        claimed_until=case((bindparam("keep_lease", type_=Boolean), payments.c.claimed_until), else_=None),
    ),
)
_SUCCEED: Final = by_id(
    payments,
    update(payments)
    .where(
        payments.c.payment_id.in_(bindparam("ids", expanding=True)),
        payments.c.status == PaymentStatus.PROCESSING.value,
    )
    .values(status=PaymentStatus.SUCCESS.value, claimed_until=None, updated_at=utc_now()),
)
_STORE_ANSWER: Final = by_id(
    payments,
    update(payments)
    .where(
        payments.c.payment_id.in_(bindparam("ids", expanding=True)),
        payments.c.status == PaymentStatus.PROCESSING.value,
        payments.c.outcome.is_(None),
    )
    .values(outcome=bindparam("answer")),
)
_REFUNDED: Final = select(func.coalesce(func.sum(refunds.c.amount), 0)).where(refunds.c.payment_id == bindparam("id"))
_REFUNDS_OF_SEVERAL: Final = (
    select(refunds.c.payment_id, refunds.c.refund_id, refunds.c.amount, refunds.c.status)
    .where(refunds.c.payment_id.in_(bindparam("ids", expanding=True)))
    .order_by(refunds.c.created_at, refunds.c.refund_id)
)
_REFUNDS_OF: Final = (
    select(refunds.c.refund_id, refunds.c.amount, refunds.c.status)
    .where(refunds.c.payment_id == bindparam("id"))
    .order_by(refunds.c.created_at, refunds.c.refund_id)
)
_RETAIN: Final = by_id(
    payments,
    update(payments)
    .where(payments.c.payment_id == bindparam("id"), payments.c.status == PaymentStatus.SUCCESS.value)
    .values(
        retained=payments.c.retained + bindparam("kept", type_=payments.c.retained.type),
        updated_at=utc_now(),
    ),
)
_ASK_LESS: Final = by_booking(
    payments,
    update(payments)
    .where(
        payments.c.booking_id == bindparam("booking"),
        payments.c.status == PaymentStatus.REQUESTED.value,
    )
    .values(amount=bindparam("total", type_=payments.c.amount.type), updated_at=utc_now()),
)


def to_payment(tx: Transaction, row: Any) -> Payment:
    return to_payments(tx, [row])[0]


def to_payments(tx: Transaction, rows: Sequence[Any]) -> list[Payment]:
    """Rows of ``payments`` as records, with what became of their refunds: one statement, however many they are."""
    known = refunds_of(tx, [row.payment_id for row in rows])
    return [_payment(row, known.get(row.payment_id, ())) for row in rows]


def refunds_of(tx: Transaction, payment_ids: Sequence[str]) -> dict[str, list[Any]]:
    """The refunds of each payment that has some: refund_id, amount, status, oldest first."""
    known: dict[str, list[Any]] = {}
    for refund in tx.execute(_REFUNDS_OF_SEVERAL, {"ids": list(payment_ids)}) if payment_ids else ():
        known.setdefault(refund.payment_id, []).append(refund)
    return known


def _payment(row: Any, known: Sequence[Any]) -> Payment:
    return Payment(
        payment_id=row.payment_id,
        booking_id=row.booking_id,
        amount=row.amount,
        status=PaymentStatus(row.status),
        source=PaymentSource(row.source),
        message=row.message,
        created_at=row.created_at,
        updated_at=row.updated_at,
        refund_id=known[-1].refund_id if known else None,
        refund_due=_sum(known, RefundStatus.DUE),
        refunded=_sum(known, RefundStatus.PAID),
        retained=row.retained,
    )


def _sum(rows: Sequence[Any], status: RefundStatus) -> Decimal:
    return sum((row.amount for row in rows if row.status == status.value), Decimal(0))


def payment_row(tx: Transaction, payment_id: str) -> Any:
    """The row, or None. A payment's state is stable while its booking is locked."""
    return tx.execute(_PAYMENT, {"id": payment_id}).first()


def require_payment(tx: Transaction, payment_id: str) -> Any:
    """Raises PaymentNotFoundError."""
    row = payment_row(tx, payment_id)
    if row is None:
        raise PaymentNotFoundError(f"there is no payment {payment_id[:64]!r}", details={"paymentId": payment_id[:64]})
    return row


def payments_of(tx: Transaction, booking_id: str) -> list[Any]:
    """Rows of the booking's payments, latest first."""
    return list(tx.execute(_OF_BOOKING, {"booking": booking_id}).all())


def move_payment(
    tx: Transaction,
    row: Any,
    new: PaymentStatus,
    *,
    source: PaymentSource | None = None,
    message: str | None = None,
    keep_lease: bool = False,
) -> None:
    """Guarded change of a payment's status. Raises Conflict when it is no longer in the state that was read.

    With ``keep_lease`` the processor that claimed it, or the one after, still asks the gateway what became of it.
    """
    old = PaymentStatus(row.status)
    if new not in PAYMENT_TRANSITIONS[old]:
        raise AssertionError(f"{old} -> {new} is no transition of a payment")
    parameters = {
        "id": row.payment_id,
        "old": old.value,
        "new": new.value,
        "new_source": row.source if source is None else source.value,
        "text": message,
        "keep_lease": keep_lease,
    }
    if tx.change(_MOVE, parameters) != 1:
        raise Conflict


def add_payment(
    tx: Transaction,
    payment_id: str,
    booking_id: str,
    amount: Decimal,
    *,
    status: PaymentStatus,
    source: PaymentSource,
    outcome: str | None = None,
    message: str | None = None,
) -> Any:
    """Record a payment and return its row."""
    tx.execute(
        insert(payments).values(
            payment_id=payment_id,
            booking_id=booking_id,
            amount=amount,
            status=status.value,
            source=source.value,
            outcome=outcome,
            message=message,
            created_at=utc_now(),
            updated_at=utc_now(),
        )
    )
    return require_payment(tx, payment_id)


def owe_back(tx: Transaction, row: Any, *, message: str, source: PaymentSource | None = None) -> Decimal:
    """Make the payment REFUND_DUE and owe all of it that was neither refunded nor retained before; returns the amount
    now owed."""
    move_payment(tx, row, PaymentStatus.REFUND_DUE, message=message, source=source)
    return owe_rest(tx, row)


def owe_rest(tx: Transaction, row: Any) -> Decimal:
    """Add a refund for what no refund covers yet. The booking's lock keeps the sum within the payment."""
    left = standing(tx, row)
    # Money of 0.00 gets its refund too: the payment leaves REFUND_DUE only through one.
    if left > 0 or (row.amount == 0 and not tx.execute(_REFUNDS_OF, {"id": row.payment_id}).first()):
        _add_refund(tx, row.payment_id, left)
    return left


def _add_refund(tx: Transaction, payment_id: str, amount: Decimal) -> None:
    tx.execute(
        insert(refunds).values(
            refund_id=new_refund_id(),
            payment_id=payment_id,
            amount=amount,
            status=RefundStatus.DUE.value,
            created_at=utc_now(),
            updated_at=utc_now(),
        )
    )


def standing(tx: Transaction, row: Any) -> Decimal:
    """What of the payment still pays for seats: neither refunded, nor due back, nor retained."""
    refunded = Decimal(tx.execute(_REFUNDED, {"id": row.payment_id}).scalar() or 0)
    return Decimal(row.amount - row.retained - refunded)


def owe_part(tx: Transaction, row: Any, price: Decimal, refund: Decimal) -> None:
    """Of a SUCCESS payment, ``price`` pays for seats no longer: ``refund`` of it is due back, the rest is retained.

    The payment stays SUCCESS: it pays for what is left. Raises Conflict when it is SUCCESS no more.
    """
    if tx.change(_RETAIN, {"id": row.payment_id, "kept": price - refund}) != 1:
        raise Conflict
    if refund:
        _add_refund(tx, row.payment_id, refund)


def owe_share(tx: Transaction, row: Any, share: Decimal, *, message: str) -> Decimal:
    """Of a SUCCESS payment whose booking ends, owe that share of what stands and retain the rest; returns what is owed.

    The payment is then REFUND_DUE; one of which nothing goes back stays SUCCESS, all of it retained.
    """
    rest = standing(tx, row)
    refund = part_of(rest, share)
    if refund < rest:
        owe_part(tx, row, rest - refund, Decimal(0))
        row = require_payment(tx, row.payment_id)
    if refund == 0 < rest:
        return refund
    return owe_back(tx, row, message=message)


def ask_less(tx: Transaction, booking_id: str, total: Decimal) -> None:
    """The booking's payment that nobody has claimed asks for its new total. One that is at the gateway keeps its
    amount: what comes above the total is due back."""
    tx.change(_ASK_LESS, {"booking": booking_id, "total": total})


def set_outcome(tx: Transaction, row: Any, outcome: CallbackStatus) -> None:
    """Store what the gateway said of the payment; its first answer stays."""
    tx.change(
        update(payments)
        .where(payments.c.payment_id == row.payment_id, payments.c.outcome.is_(None))
        .values(outcome=outcome.value)
    )


def store_answers(tx: Transaction, payment_ids: Sequence[str], outcome: CallbackStatus) -> None:
    """Store what the gateway said of payments that are still PROCESSING, before their bookings learn of it."""
    if payment_ids:
        tx.change(_STORE_ANSWER, {"ids": sorted(payment_ids), "answer": outcome.value})


def succeed(tx: Transaction, payment_ids: Sequence[str]) -> None:
    """Make PROCESSING payments SUCCESS. Raises Conflict when one is not PROCESSING any more."""
    if tx.change(_SUCCEED, {"ids": list(payment_ids)}) != len(payment_ids):
        raise Conflict
