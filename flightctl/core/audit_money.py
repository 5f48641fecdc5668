"""What audit looks for in money: payments and refunds that do not go with their bookings, or with each other."""

from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import Select, and_, case, func, or_, select

from flightctl.core.audit_ranges import Look, within
from flightctl.core.database import Transaction
from flightctl.core.model.operations import Violation
from flightctl.core.model.states import BookingStatus, PaymentStatus, RefundStatus
from flightctl.core.schema import bookings, payments, refunds
from flightctl.core.sql_functions import utc_now

REFUND_GRACE_SECONDS: Final = 900
PAYMENT_GRACE_SECONDS: Final = 900
"""A PROCESSING payment that nobody has claimed for so long after its last lease is stuck."""
LONGEST_LEASE_SECONDS: Final = 3600
"""An unanswered payment is asked for ever more rarely, up to this; so long after its time it is given up at last."""

_BACK: Final = (
    select(func.coalesce(func.sum(refunds.c.amount), 0))
    .where(refunds.c.payment_id == payments.c.payment_id)
    .correlate(payments)
    .scalar_subquery()
)
"""What goes or went back of each payment."""


def confirmed_money(look: Look) -> Iterator[Violation]:
    """A CONFIRMED booking has exactly one payment that stands; what of it is neither refunded nor retained is its whole
    price."""
    paid = func.count(payments.c.payment_id)
    back = func.coalesce(func.sum(_BACK), 0)
    stands = func.sum(payments.c.amount) - func.sum(payments.c.retained) - back
    query = (
        select(
            bookings.c.booking_id,
            bookings.c.total_price,
            paid.label("payments"),
            func.sum(payments.c.amount).label("amount"),
            back.label("back"),
        )
        .outerjoin(
            payments,
            and_(payments.c.booking_id == bookings.c.booking_id, payments.c.status == PaymentStatus.SUCCESS.value),
        )
        .where(within(bookings.c.booking_id), bookings.c.status == BookingStatus.CONFIRMED.value)
        .group_by(bookings.c.booking_id, bookings.c.total_price)
        .having(or_(paid != 1, stands != bookings.c.total_price))
        .order_by(bookings.c.booking_id)
    )
    for row in look.over(look.bookings, query):
        if row.payments == 0:
            yield Violation("unpaid_booking", None, row.booking_id, "it is CONFIRMED and no payment stands")
        elif row.payments > 1:
            yield Violation("double_payment", None, row.booking_id, f"{row.payments} payments stand for one booking")
        elif row.back:
            detail = f"{row.amount} was paid for {row.total_price}, and {row.back} of it goes back"
            yield Violation("refund_unexpected", None, row.booking_id, detail)
        else:
            yield Violation("payment_amount", None, row.booking_id, f"{row.amount} was paid for {row.total_price}")


def stray_payments(look: Look) -> Iterator[Violation]:
    """Payments whose booking went another way, and payments that nobody moves on."""
    for row in look.over(look.payments, _stuck_query(look.abandon_seconds)):
        what = f"payment {row.payment_id} is {row.status}"
        if row.status == PaymentStatus.SUCCESS.value:
            yield Violation("payment_without_seat", None, row.booking_id, f"{what}, its booking is {row.booking}")
        elif row.status == PaymentStatus.REQUESTED.value:
            yield Violation("stuck_payment", None, row.booking_id, f"{what}, its booking is {row.booking}")
        else:
            yield Violation("stuck_payment", None, row.booking_id, f"{what} since {row.updated_at:%Y-%m-%dT%H:%M:%SZ}")


def _stuck_query(abandon_seconds: float) -> Select[Any]:
    # A payment that the gateway does not answer is claimed again and again; that is no fault until it should have been
    # given up, which is only done when its booking no longer waits for it.
    unclaimed = func.coalesce(payments.c.claimed_until, payments.c.updated_at) < utc_now(-PAYMENT_GRACE_SECONDS)
    overdue = -abandon_seconds - LONGEST_LEASE_SECONDS - PAYMENT_GRACE_SECONDS
    not_given_up = and_(
        payments.c.created_at < utc_now(overdue),
        or_(bookings.c.status.is_(None), bookings.c.status != BookingStatus.PENDING.value),
    )
    # A release by rules that let nothing go back leaves the payment SUCCESS: all of it is retained.
    retained = payments.c.retained + _BACK == payments.c.amount
    settled = and_(bookings.c.status == BookingStatus.CANCELLED.value, payments.c.retained > 0, retained)
    stuck = and_(payments.c.status == PaymentStatus.PROCESSING.value, or_(unclaimed, not_given_up))
    return (
        select(payments, bookings.c.status.label("booking"))
        .outerjoin(bookings, bookings.c.booking_id == payments.c.booking_id)
        .where(
            within(payments.c.payment_id),
            or_(
                and_(
                    payments.c.status == PaymentStatus.SUCCESS.value,
                    or_(bookings.c.status.is_(None), bookings.c.status != BookingStatus.CONFIRMED.value),
                    ~settled,
                ),
                and_(
                    payments.c.status == PaymentStatus.REQUESTED.value,
                    or_(bookings.c.status.is_(None), bookings.c.status != BookingStatus.PENDING.value),
                ),
                stuck,
            ),
        )
        .order_by(payments.c.payment_id)
    )


def wrong_refunds(look: Look) -> Iterator[Violation]:
    """Refunds above their payment, money due back without a refund, and money owed for too long."""
    total = func.coalesce(func.sum(refunds.c.amount), 0)
    due = func.coalesce(func.sum(case((refunds.c.status == RefundStatus.DUE.value, refunds.c.amount), else_=0)), 0)
    due_count = func.count(case((refunds.c.status == RefundStatus.DUE.value, 1)))
    owed = (PaymentStatus.REFUND_DUE.value, PaymentStatus.REFUNDED.value)
    query = (
        select(
            payments.c.payment_id,
            payments.c.booking_id,
            payments.c.amount,
            payments.c.retained,
            payments.c.status,
            total.label("refunds"),
            due.label("due"),
            due_count.label("due_count"),
        )
        .outerjoin(refunds, refunds.c.payment_id == payments.c.payment_id)
        .where(within(payments.c.payment_id), or_(payments.c.status.in_(owed), refunds.c.refund_id.is_not(None)))
        .group_by(
            payments.c.payment_id,
            payments.c.booking_id,
            payments.c.amount,
            payments.c.retained,
            payments.c.status,
        )
        .order_by(payments.c.payment_id)
    )
    for row in look.over(look.payments, query):
        what = f"payment {row.payment_id} of {row.amount}"
        whole = row.refunds + row.retained >= row.amount
        if row.refunds + row.retained > row.amount:
            yield Violation("refunds_above_payment", None, row.booking_id, f"{what} has refunds of {row.refunds}")
        elif row.status == PaymentStatus.SUCCESS.value:
            continue  # seats given back; whether what is left pays for the others is another check's
        elif row.status not in owed:
            yield Violation("refund_unexpected", None, row.booking_id, f"{what} is {row.status} and has a refund")
        elif row.status == PaymentStatus.REFUND_DUE.value and (row.due_count == 0 or not whole):
            detail = f"{what} is REFUND_DUE, refunds of {row.due} are due and {row.refunds - row.due} were paid"
            yield Violation("refund_missing", None, row.booking_id, detail)
        elif row.status == PaymentStatus.REFUNDED.value and (row.due_count or not whole):
            yield Violation(
                "refund_missing", None, row.booking_id, f"{what} is REFUNDED, but not all of it was paid back"
            )
    yield from _overdue(look.tx)


def _overdue(tx: Transaction) -> Iterator[Violation]:
    query = (
        select(refunds.c.refund_id, refunds.c.amount, payments.c.payment_id, payments.c.booking_id, payments.c.source)
        .outerjoin(payments, payments.c.payment_id == refunds.c.payment_id)
        .where(refunds.c.status == RefundStatus.DUE.value, refunds.c.created_at < utc_now(-REFUND_GRACE_SECONDS))
        .order_by(refunds.c.refund_id)
    )
    for row in tx.execute(query):
        detail = f"{row.amount} of payment {row.payment_id} ({row.source}) is due back for more than 15 min"
        yield Violation("refund_overdue", None, row.booking_id, detail)
