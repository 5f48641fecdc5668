"""The usual end of payments, for many bookings in one transaction: each PENDING, its money here, its seats waiting.

Whatever is not exactly that is left to ``settlement``, booking by booking: this decides no cell of the callback table
but PENDING × SUCCESS. No seats change hands, so that neither locks on flights nor new counts are needed.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import BindParameter, and_, bindparam, case, func, select

from flightctl.core import money, records, reservations
from flightctl.core.database import Operation, Transaction
from flightctl.core.errors import InvariantViolationError
from flightctl.core.model.states import BookingStatus, CallbackStatus, FlightStatus, HoldOutcome, PaymentStatus
from flightctl.core.runtime import Runtime
from flightctl.core.schema import booking_flights, bookings, flights, payments, seat_reservations
from flightctl.core.sql_functions import utc_now

_IDS: Final[BindParameter[Any]] = bindparam("booking_ids", expanding=True)
_LOCK: Final = (
    select(bookings.c.booking_id, bookings.c.status, bookings.c.total_price)
    .where(bookings.c.booking_id.in_(_IDS))
    .order_by(bookings.c.booking_id)
    .with_for_update()
)
_PAYMENTS: Final = select(
    payments.c.payment_id, payments.c.booking_id, payments.c.status, payments.c.outcome, payments.c.amount
).where(payments.c.booking_id.in_(_IDS))
_READY_LEG: Final = and_(
    flights.c.status == FlightStatus.ACTIVE.value,
    flights.c.departure_time > utc_now(),
    seat_reservations.c.id.is_not(None),
)
_LEGS: Final = (
    select(
        booking_flights.c.booking_id,
        func.count().label("legs"),
        func.sum(case((_READY_LEG, 1), else_=0)).label("ready"),
    )
    .join(flights, flights.c.flight_id == booking_flights.c.flight_id)
    .outerjoin(
        seat_reservations,
        and_(
            seat_reservations.c.booking_id == booking_flights.c.booking_id,
            seat_reservations.c.flight_id == booking_flights.c.flight_id,
            seat_reservations.c.deleted_at.is_(None),
        ),
    )
    .where(booking_flights.c.booking_id.in_(_IDS))
    .group_by(booking_flights.c.booking_id)
)


def confirm_paid(runtime: Runtime, paid: Mapping[str, str], *, actor: str) -> set[str]:
    """Confirm bookings whose payments' SUCCESS is stored: ``paid`` is payment id → booking id.

    Returns the payments that are settled with that; of the others nothing was changed. Raises InvariantViolationError
    (an open hold that is no leg's; nothing was changed) and what ``Database.run`` raises.
    """
    if not paid:
        return set()
    return runtime.database.run(lambda tx: _confirm(tx, paid, actor), operation=Operation())


def _confirm(tx: Transaction, paid: Mapping[str, str], actor: str) -> set[str]:
    legs = _legs_of_usual(tx, paid)
    if not legs:
        return set()
    usual = {booking_id: payment_id for payment_id, booking_id in paid.items() if booking_id in legs}
    ids = sorted(usual)
    if reservations.end(tx, ids, HoldOutcome.CONFIRMED) != sum(legs.values()):
        raise InvariantViolationError("bookings have open holds that are not their legs'")
    money.succeed(tx, sorted(usual.values()))
    records.move_many(
        tx,
        {booking_id: f"payment succeeded ({usual[booking_id]})" for booking_id in ids},
        BookingStatus.PENDING,
        BookingStatus.CONFIRMED,
        actor=actor,
    )
    return set(usual.values())


def _legs_of_usual(tx: Transaction, paid: Mapping[str, str]) -> dict[str, int]:
    """Of the bookings where all is as it should be, how many legs they have; their rows are locked, in sorted order."""
    ids = sorted(set(paid.values()))
    locked = {row.booking_id: row for row in tx.execute(_LOCK, {"booking_ids": ids})}
    rows = tx.execute(_PAYMENTS, {"booking_ids": ids}).all()
    how_many = Counter(row.booking_id for row in rows)
    payable = {
        row.booking_id
        for row in rows
        if how_many[row.booking_id] == 1 and row.payment_id in paid and _pays(row, locked[row.booking_id])
    }
    return {
        row.booking_id: row.legs
        for row in tx.execute(_LEGS, {"booking_ids": ids})
        if row.booking_id in payable and row.ready == row.legs
    }


def _pays(payment: Any, booking: Any) -> bool:
    return bool(
        booking.status == BookingStatus.PENDING.value
        and payment.status == PaymentStatus.PROCESSING.value
        and payment.outcome == CallbackStatus.SUCCESS.value
        and payment.amount == booking.total_price
    )
