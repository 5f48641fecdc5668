"""Bookings that a change of their flight does something to, and what."""

from decimal import Decimal
from typing import Any, Final

from sqlalchemy import bindparam, select

from flightctl.core import disruption, money
from flightctl.core.database import Transaction
from flightctl.core.model.flights import AffectedBooking
from flightctl.core.model.states import BookingStatus, PaymentStatus
from flightctl.core.schema import booking_flights, bookings, disruptions

_OPEN: Final = (
    select(bookings.c.booking_id, bookings.c.user_id, bookings.c.seats, bookings.c.status)
    .join(booking_flights, booking_flights.c.booking_id == bookings.c.booking_id)
    .where(
        booking_flights.c.flight_id == bindparam("id"),
        bookings.c.status.in_((BookingStatus.PENDING.value, BookingStatus.CONFIRMED.value)),
    )
    .order_by(bookings.c.booking_id)
)
_DISRUPTED_BY: Final = (
    _OPEN.join(disruptions, disruptions.c.booking_id == bookings.c.booking_id)
    .where(disruptions.c.flight_id == bindparam("id"))
    .where(bookings.c.status == BookingStatus.CONFIRMED.value)
)


def by_cancelling(tx: Transaction, flight_id: str, *, with_plan: bool) -> tuple[AffectedBooking, ...]:
    """The flight's open bookings, and what its cancellation makes of them: all end, and what was paid goes back; with a
    plan the CONFIRMED ones wait to be moved instead."""
    rows = tx.execute(_OPEN, {"id": flight_id}).all()
    return tuple(_affected(tx, row, waits=with_plan and row.status == BookingStatus.CONFIRMED.value) for row in rows)


def cancelled(tx: Transaction, flight_id: str, *, spared: bool) -> tuple[AffectedBooking, ...]:
    """The open bookings of a flight that is cancelled; with ``spared`` those that are marked wait to be moved."""
    found = []
    for row in tx.execute(_OPEN, {"id": flight_id}).all():
        confirmed = row.status == BookingStatus.CONFIRMED.value
        waits = spared and confirmed and disruption.mark_of(tx, row.booking_id) is not None
        found.append(_affected(tx, row, waits=waits))
    return tuple(found)


def disrupted_by(tx: Transaction, flight_id: str) -> tuple[AffectedBooking, ...]:
    """The CONFIRMED bookings that wait to be moved because of this flight."""
    return tuple(_affected(tx, row, waits=True) for row in tx.execute(_DISRUPTED_BY, {"id": flight_id}).all())


def _affected(tx: Transaction, row: Any, *, waits: bool) -> AffectedBooking:
    before = BookingStatus(row.status)
    return AffectedBooking(
        booking_id=row.booking_id,
        user_id=row.user_id,
        seats=row.seats,
        before=before,
        after=before if waits else BookingStatus.CANCELLED,
        disrupted=waits,
        refund=Decimal(0) if waits else _standing(tx, row.booking_id),
    )


def _standing(tx: Transaction, booking_id: str) -> Decimal:
    """What of the booking's payments pays for its seats."""
    paid = [row for row in money.payments_of(tx, booking_id) if row.status == PaymentStatus.SUCCESS.value]
    return sum((money.standing(tx, row) for row in paid), Decimal(0))
