"""What audit looks for: each check is one query over the whole database, run on one consistent snapshot."""

from collections.abc import Callable, Iterator
from typing import Any, Final

from sqlalchemy import Select, and_, case, func, or_, select

from flightctl.core import disruption
from flightctl.core.database import Transaction
from flightctl.core.model.operations import Violation
from flightctl.core.model.states import BookingStatus, FlightStatus, PaymentStatus, RefundStatus
from flightctl.core.schema import booking_flights, bookings, flights, payments, refunds, seat_reservations
from flightctl.core.sql_functions import utc_now

REFUND_GRACE_SECONDS: Final = 900
SWEEP_GRACE_SECONDS: Final = 60
PAYMENT_GRACE_SECONDS: Final = 900
"""A PROCESSING payment that nobody has claimed for so long after its last lease is stuck."""
LONGEST_LEASE_SECONDS: Final = 3600
"""An unanswered payment is asked for ever more rarely, up to this; so long after its time it is given up at last."""
ON_CANCELLED_FLIGHT: Final = "booking_on_cancelled_flight"

_OPEN: Final = seat_reservations.c.deleted_at.is_(None)
_BACK: Final = (
    select(refunds.c.payment_id, func.sum(refunds.c.amount).label("amount")).group_by(refunds.c.payment_id).subquery()
)
"""What goes or went back of each payment."""


def check_all(tx: Transaction, abandon_seconds: float) -> list[Violation]:
    """Every violation in the database, by kind. ``abandon_seconds``: when an unanswered payment is given up."""
    return [violation for check in _CHECKS for violation in check(tx, abandon_seconds)]


def _seat_counts(tx: Transaction, _: float) -> Iterator[Violation]:
    held = (
        select(seat_reservations.c.flight_id, func.sum(seat_reservations.c.seats).label("seats"))
        .where(_OPEN)
        .group_by(seat_reservations.c.flight_id)
        .subquery()
    )
    sold = (
        select(booking_flights.c.flight_id, func.sum(bookings.c.seats).label("seats"))
        .join(bookings, bookings.c.booking_id == booking_flights.c.booking_id)
        .where(bookings.c.status == BookingStatus.CONFIRMED.value)
        .group_by(booking_flights.c.flight_id)
        .subquery()
    )
    right = flights.c.total_seats - func.coalesce(sold.c.seats, 0) - func.coalesce(held.c.seats, 0)
    wrong = (
        select(flights.c.flight_id, flights.c.available_seats, right.label("expected"))
        .outerjoin(held, held.c.flight_id == flights.c.flight_id)
        .outerjoin(sold, sold.c.flight_id == flights.c.flight_id)
        .where(flights.c.available_seats != right)
        .order_by(flights.c.flight_id)
    )
    for row in tx.execute(wrong):
        detail = f"{row.available_seats} seats available, {int(row.expected)} by its bookings and holds"
        yield Violation("seat_count", row.flight_id, None, detail)


def _holds(tx: Transaction, _: float) -> Iterator[Violation]:
    """Open holds whose booking is gone or has ended, or does not fly that leg, or has other seats."""
    leg = and_(
        booking_flights.c.booking_id == seat_reservations.c.booking_id,
        booking_flights.c.flight_id == seat_reservations.c.flight_id,
    )
    query = (
        select(
            seat_reservations.c.booking_id,
            seat_reservations.c.flight_id,
            seat_reservations.c.seats,
            bookings.c.status,
            bookings.c.seats.label("booked"),
            booking_flights.c.leg_order,
        )
        .outerjoin(bookings, bookings.c.booking_id == seat_reservations.c.booking_id)
        .outerjoin(booking_flights, leg)
        .where(
            _OPEN,
            or_(
                bookings.c.booking_id.is_(None),
                bookings.c.status != BookingStatus.PENDING.value,
                booking_flights.c.leg_order.is_(None),
                bookings.c.seats != seat_reservations.c.seats,
            ),
        )
        .order_by(seat_reservations.c.id)
    )
    for row in tx.execute(query):
        if row.status is None:
            yield Violation(
                "hold_without_booking", row.flight_id, row.booking_id, "a hold is open, its booking is gone"
            )
        elif row.status != BookingStatus.PENDING.value:
            yield Violation(
                "hold_without_booking", row.flight_id, row.booking_id, f"a hold is open, its booking is {row.status}"
            )
        elif row.leg_order is None:
            yield Violation(
                "hold_without_leg", row.flight_id, row.booking_id, "a hold is open on a flight that the booking has not"
            )
        else:
            detail = f"{row.seats} seats held for {row.booked} booked"
            yield Violation("hold_seats", row.flight_id, row.booking_id, detail)


def _missing_holds(tx: Transaction, _: float) -> Iterator[Violation]:
    """Legs of PENDING bookings without a hold, or with two."""
    count = func.count(seat_reservations.c.id)
    query = (
        select(bookings.c.booking_id, booking_flights.c.flight_id, count.label("holds"))
        .outerjoin(booking_flights, booking_flights.c.booking_id == bookings.c.booking_id)
        .outerjoin(
            seat_reservations,
            and_(
                seat_reservations.c.booking_id == bookings.c.booking_id,
                seat_reservations.c.flight_id == booking_flights.c.flight_id,
                _OPEN,
            ),
        )
        .where(bookings.c.status == BookingStatus.PENDING.value)
        .group_by(bookings.c.booking_id, booking_flights.c.flight_id)
        .having(count != 1)
        .order_by(bookings.c.booking_id)
    )
    for row in tx.execute(query):
        if row.holds == 0:
            yield Violation("booking_without_hold", row.flight_id, row.booking_id, "it is PENDING and holds no seats")
        else:
            yield Violation("duplicate_hold", row.flight_id, row.booking_id, f"{row.holds} open holds for one leg")


def _cancelled_flights(tx: Transaction, _: float) -> Iterator[Violation]:
    return on_cancelled_flights(tx)


def on_cancelled_flights(tx: Transaction) -> Iterator[Violation]:
    """Bookings of cancelled flights that have not ended (yet), and do not wait to be moved either."""
    query = (
        select(bookings.c.booking_id, bookings.c.status, flights.c.flight_id)
        .join(booking_flights, booking_flights.c.booking_id == bookings.c.booking_id)
        .join(flights, flights.c.flight_id == booking_flights.c.flight_id)
        .where(
            flights.c.status == FlightStatus.CANCELLED.value,
            bookings.c.status.in_((BookingStatus.PENDING.value, BookingStatus.CONFIRMED.value)),
            ~disruption.waiting(),
        )
        .order_by(bookings.c.booking_id)
    )
    for row in tx.execute(query):
        yield Violation(
            ON_CANCELLED_FLIGHT, row.flight_id, row.booking_id, f"it is {row.status}, the flight is cancelled"
        )


def _unswept(tx: Transaction, _: float) -> Iterator[Violation]:
    query = (
        select(seat_reservations.c.booking_id, seat_reservations.c.flight_id, seat_reservations.c.expires_at)
        .where(_OPEN, seat_reservations.c.expires_at < utc_now(-SWEEP_GRACE_SECONDS))
        .order_by(seat_reservations.c.id)
    )
    for row in tx.execute(query):
        lapsed = f"{row.expires_at:%Y-%m-%dT%H:%M:%SZ}"
        yield Violation("unswept_hold", row.flight_id, row.booking_id, f"its hold lapsed at {lapsed} and was not swept")


def _confirmed_money(tx: Transaction, _: float) -> Iterator[Violation]:
    """A CONFIRMED booking has exactly one payment that stands; what of it is neither refunded nor retained is its whole
    price."""
    paid = func.count(payments.c.payment_id)
    back = func.coalesce(func.sum(_BACK.c.amount), 0)
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
        .outerjoin(_BACK, _BACK.c.payment_id == payments.c.payment_id)
        .where(bookings.c.status == BookingStatus.CONFIRMED.value)
        .group_by(bookings.c.booking_id, bookings.c.total_price)
        .having(or_(paid != 1, stands != bookings.c.total_price))
        .order_by(bookings.c.booking_id)
    )
    for row in tx.execute(query):
        if row.payments == 0:
            yield Violation("unpaid_booking", None, row.booking_id, "it is CONFIRMED and no payment stands")
        elif row.payments > 1:
            yield Violation("double_payment", None, row.booking_id, f"{row.payments} payments stand for one booking")
        elif row.back:
            detail = f"{row.amount} was paid for {row.total_price}, and {row.back} of it goes back"
            yield Violation("refund_unexpected", None, row.booking_id, detail)
        else:
            yield Violation("payment_amount", None, row.booking_id, f"{row.amount} was paid for {row.total_price}")


def _payments(tx: Transaction, abandon_seconds: float) -> Iterator[Violation]:
    """Payments whose booking went another way, and payments that nobody moves on."""
    query = _stuck_query(abandon_seconds)
    for row in tx.execute(query):
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
    retained = payments.c.retained + func.coalesce(_BACK.c.amount, 0) == payments.c.amount
    settled = and_(bookings.c.status == BookingStatus.CANCELLED.value, payments.c.retained > 0, retained)
    stuck = and_(payments.c.status == PaymentStatus.PROCESSING.value, or_(unclaimed, not_given_up))
    return (
        select(payments, bookings.c.status.label("booking"))
        .outerjoin(bookings, bookings.c.booking_id == payments.c.booking_id)
        .outerjoin(_BACK, _BACK.c.payment_id == payments.c.payment_id)
        .where(
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
            )
        )
        .order_by(payments.c.payment_id)
    )


def _refunds(tx: Transaction, _: float) -> Iterator[Violation]:
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
        .where(or_(payments.c.status.in_(owed), refunds.c.refund_id.is_not(None)))
        .group_by(
            payments.c.payment_id,
            payments.c.booking_id,
            payments.c.amount,
            payments.c.retained,
            payments.c.status,
        )
        .order_by(payments.c.payment_id)
    )
    for row in tx.execute(query):
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
    yield from _overdue(tx)


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


_CHECKS: Final[tuple[Callable[[Transaction, float], Iterator[Violation]], ...]] = (
    _seat_counts,
    _holds,
    _missing_holds,
    _cancelled_flights,
    _unswept,
    _confirmed_money,
    _payments,
    _refunds,
)
