"""Rows of a booking: read, locked, moved from one state to the next, and the story of it in ``booking_events``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import bindparam, case, func, insert, null, select, update

from flightctl.core.database import Conflict, Transaction
from flightctl.core.errors import BookingNotFoundError
from flightctl.core.identifiers import storable
from flightctl.core.index_hints import by_booking
from flightctl.core.model.bookings import Booking
from flightctl.core.model.states import BOOKING_TRANSITIONS, BookingStatus, FlightType, PaymentStatus
from flightctl.core.prepared import Step
from flightctl.core.schema import (
    booking_events,
    booking_flights,
    booking_requests,
    bookings,
    payments,
    seat_reservations,
)
from flightctl.core.sql_functions import utc_now

REASON_LENGTH: Final = 255

_BOOKING: Final = select(bookings).where(bookings.c.booking_id == bindparam("id"))
_LOCKED_BOOKING: Final = _BOOKING.with_for_update()
_LEGS: Final = (
    select(booking_flights.c.flight_id)
    .where(booking_flights.c.booking_id == bindparam("id"))
    .order_by(booking_flights.c.leg_order)
)
_EXPIRY: Final = select(func.max(seat_reservations.c.expires_at)).where(
    seat_reservations.c.booking_id == bindparam("id")
)
_LATEST_PAYMENT: Final = (
    select(payments.c.payment_id)
    .where(payments.c.booking_id == bindparam("id"))
    .order_by(payments.c.created_at.desc(), payments.c.payment_id.desc())
    .limit(1)
)
_REQUEST: Final = select(booking_requests).where(booking_requests.c.booking_id == bindparam("id"))
_MOVE: Final = by_booking(
    bookings,
    update(bookings)
    .where(bookings.c.booking_id == bindparam("id"), bookings.c.status == bindparam("old"))
    .values(
        status=bindparam("new"),
        updated_at=utc_now(),
        failure_reason=case(  # late money confirms a booking that had failed to be paid in time
            (bindparam("new") == BookingStatus.CONFIRMED.value, null()),
            else_=func.coalesce(bindparam("failure"), bookings.c.failure_reason),
        ),
    ),
)
_MOVE_MANY: Final = by_booking(
    bookings,
    update(bookings)
    .where(bookings.c.booking_id.in_(bindparam("booking_ids", expanding=True)), bookings.c.status == bindparam("old"))
    .values(
        status=bindparam("new"),
        updated_at=utc_now(),
        failure_reason=func.coalesce(bindparam("failure"), bookings.c.failure_reason),
    ),
)
_CANCEL_REQUESTED: Final = by_booking(
    payments,
    update(payments)
    .where(
        payments.c.booking_id.in_(bindparam("booking_ids", expanding=True)),
        payments.c.status == PaymentStatus.REQUESTED.value,
    )
    .values(status=PaymentStatus.CANCELLED.value, updated_at=utc_now()),
)
_TOUCH: Final = by_booking(
    bookings,
    update(bookings)
    .where(
        bookings.c.booking_id.in_(bindparam("booking_ids", expanding=True)),
        bookings.c.status == BookingStatus.PENDING.value,
    )
    .values(updated_at=utc_now()),
)
_LOCKED_STATES: Final = (
    select(bookings.c.booking_id, bookings.c.status)
    .where(bookings.c.booking_id.in_(bindparam("booking_ids", expanding=True)))
    .order_by(bookings.c.booking_id)
    .with_for_update()
)
_EXPIRIES: Final = (
    select(seat_reservations.c.booking_id, func.max(seat_reservations.c.expires_at).label("expires_at"))
    .where(seat_reservations.c.booking_id.in_(bindparam("booking_ids", expanding=True)))
    .group_by(seat_reservations.c.booking_id)
)
_PAYMENTS_OF_SEVERAL: Final = (
    select(payments.c.booking_id, payments.c.payment_id)
    .where(payments.c.booking_id.in_(bindparam("booking_ids", expanding=True)))
    .order_by(payments.c.booking_id, payments.c.created_at, payments.c.payment_id)
)
_LEGS_OF_SEVERAL: Final = (
    select(booking_flights.c.booking_id, booking_flights.c.flight_id)
    .where(booking_flights.c.booking_id.in_(bindparam("booking_ids", expanding=True)))
    .order_by(booking_flights.c.booking_id, booking_flights.c.leg_order)
)
ADD_EVENT: Final = insert(booking_events).values(at=utc_now())
_OWN_EVENT: Final = (
    select(booking_events.c.id)
    .where(booking_events.c.booking_id == bindparam("id"), booking_events.c.operation_id == bindparam("operation"))
    .limit(1)
)


@dataclass(frozen=True, slots=True)
class Locked:
    """A booking whose row this transaction holds: its state cannot change under us."""

    row: Any
    flight_ids: tuple[str, ...]

    @property
    def id(self) -> str:
        return str(self.row.booking_id)

    @property
    def status(self) -> BookingStatus:
        return BookingStatus(self.row.status)


def not_found(booking_id: str) -> BookingNotFoundError:
    return BookingNotFoundError(f"there is no booking {booking_id[:20]!r}", details={"bookingId": booking_id[:64]})


def flight_ids_of(tx: Transaction, booking_id: str) -> tuple[str, ...]:
    """The booking's flights in the order of its legs; empty when there is no such booking."""
    return tuple(tx.execute(_LEGS, {"id": booking_id}).scalars())


def load_booking(tx: Transaction, booking_id: str) -> Booking:
    """Raises BookingNotFoundError."""
    return to_booking(tx, require_row(tx, booking_id))


def require_row(tx: Transaction, booking_id: str) -> Any:
    """The booking's row, not locked. Raises BookingNotFoundError."""
    row = tx.execute(_BOOKING, {"id": booking_id}).first()
    if row is None:
        raise not_found(booking_id)
    return row


def to_booking(tx: Transaction, row: Any) -> Booking:
    """The whole record of a row of ``bookings``."""
    parameters = {"id": row.booking_id}
    expires_at = tx.execute(_EXPIRY, parameters).scalar()
    payment_id = tx.execute(_LATEST_PAYMENT, parameters).scalar()
    return _booking(row, flight_ids_of(tx, row.booking_id), expires_at, payment_id)


def to_bookings(tx: Transaction, rows: Sequence[Any]) -> list[Booking]:
    """As ``to_booking``, for a page of them: as many statements as for one."""
    parameters = {"booking_ids": [row.booking_id for row in rows]}
    if not rows:
        return []
    legs = legs_of(tx, parameters["booking_ids"])
    expiries = {row.booking_id: row.expires_at for row in tx.execute(_EXPIRIES, parameters)}
    latest = {row.booking_id: row.payment_id for row in tx.execute(_PAYMENTS_OF_SEVERAL, parameters)}
    return [
        _booking(row, legs[row.booking_id], expiries.get(row.booking_id), latest.get(row.booking_id)) for row in rows
    ]


def _booking(row: Any, flight_ids: tuple[str, ...], expires_at: datetime | None, payment_id: str | None) -> Booking:
    return Booking(
        booking_id=row.booking_id,
        user_id=row.user_id,
        flight_type=FlightType(row.flight_type),
        flight_identifier=row.flight_identifier,
        seats=row.seats,
        total_price=row.total_price,
        status=BookingStatus(row.status),
        flight_ids=flight_ids,
        expires_at=expires_at,
        created_at=row.created_at,
        updated_at=row.updated_at,
        payment_id=payment_id,
        idempotency_key=row.idempotency_key,
        failure_reason=row.failure_reason,
    )


def first_request(tx: Transaction, booking: Booking) -> tuple[str, int]:
    """Identifier and seats that the booking was made for, which its idempotency key stands for."""
    row = tx.execute(_REQUEST, {"id": booking.booking_id}).first()
    return (booking.flight_identifier, booking.seats) if row is None else (row.flight_identifier, row.seats)


def keep_request(tx: Transaction, booking: Locked) -> None:
    """Before a booking's seats or flights change for the first time: remember what was asked for."""
    if tx.execute(_REQUEST, {"id": booking.id}).first() is None:
        asked = {"flight_identifier": booking.row.flight_identifier, "seats": booking.row.seats}
        tx.execute(insert(booking_requests), {"booking_id": booking.id, **asked})


def lock_booking(tx: Transaction, booking_id: str) -> Locked:
    """Lock the booking's row first of all: every change of a booking, its holds or its money queues here.

    Raises BookingNotFoundError.
    """
    row = tx.execute(_LOCKED_BOOKING, {"id": booking_id}).first()
    if row is None:
        raise not_found(booking_id)
    return Locked(row, flight_ids_of(tx, booking_id))


def lock_states(tx: Transaction, booking_ids: Sequence[str]) -> dict[str, BookingStatus]:
    """Lock the bookings' rows, in sorted order, as ``lock_booking`` does one; the state of each that there is."""
    rows = tx.execute(_LOCKED_STATES, {"booking_ids": list(booking_ids)})
    return {row.booking_id: BookingStatus(row.status) for row in rows}


def legs_of(tx: Transaction, booking_ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The flights of each booking in the order of its legs."""
    legs: dict[str, tuple[str, ...]] = dict.fromkeys(booking_ids, ())
    for row in tx.execute(_LEGS_OF_SEVERAL, {"booking_ids": list(booking_ids)}):
        legs[row.booking_id] += (row.flight_id,)
    return legs


def move(
    tx: Transaction, booking: Locked, new: BookingStatus, *, actor: str, reason: str, failure: str | None = None
) -> None:
    """Change the booking's status by a guarded UPDATE and write the event. A booking that ends PENDING cancels what it
    had REQUESTED. Raises Conflict (the transaction runs again) when the row is no longer in the state that was locked.
    """
    old = booking.status
    if new not in BOOKING_TRANSITIONS[old]:
        raise AssertionError(f"{old} -> {new} is no transition of a booking")
    parameters = {"id": booking.id, "old": old.value, "new": new.value, "failure": clip(failure)}
    if tx.change(_MOVE, parameters) != 1:
        raise Conflict
    if old is BookingStatus.PENDING:
        cancel_requested(tx, [booking.id])
    add_event(tx, booking.id, old, new, actor=actor, reason=reason)


def move_many(
    tx: Transaction,
    reasons: Mapping[str, str],
    old: BookingStatus,
    new: BookingStatus,
    *,
    actor: str,
    failure: str | None = None,
) -> None:
    """As ``move``, for locked bookings in the same state; ``reasons`` by booking. What they had REQUESTED is the
    caller's to cancel. Raises Conflict when one of them is in another state."""
    if new not in BOOKING_TRANSITIONS[old]:
        raise AssertionError(f"{old} -> {new} is no transition of a booking")
    ids = sorted(reasons)
    parameters = {"booking_ids": ids, "old": old.value, "new": new.value, "failure": clip(failure)}
    if tx.change(_MOVE_MANY, parameters) != len(ids):
        raise Conflict
    rows = [event(one, old, new, actor=actor, reason=reasons[one], operation_id=tx.operation.id) for one in ids]
    # One INSERT: the driver would send one for each row, since it does not see through the clock in VALUES.
    tx.fetch([Step(ADD_EVENT, rows)])


def touch(tx: Transaction, booking_ids: Sequence[str]) -> int:
    """Write the rows of those that are PENDING; returns how many they were. Locks are local to a member of a cluster:
    of two that change how long a hold runs, on two members, one must meet the other in this row at its COMMIT."""
    return tx.change(_TOUCH, {"booking_ids": list(booking_ids)})


def cancel_requested(tx: Transaction, booking_ids: Sequence[str]) -> None:
    """Cancel the payments that nobody has claimed."""
    tx.change(_CANCEL_REQUESTED, {"booking_ids": list(booking_ids)})


def add_event(
    tx: Transaction, booking_id: str, old: BookingStatus | None, new: BookingStatus, *, actor: str, reason: str
) -> None:
    """Append to the booking's story. ``old == new`` tells of money that moved while the booking stood still."""
    tx.fetch([Step(ADD_EVENT, event(booking_id, old, new, actor=actor, reason=reason, operation_id=tx.operation.id))])


def event(
    booking_id: str, old: BookingStatus | None, new: BookingStatus, *, actor: str, reason: str, operation_id: str
) -> dict[str, Any]:
    """Parameters of ADD_EVENT."""
    return {
        "booking_id": booking_id,
        "actor": actor[:64],
        "from_status": None if old is None else old.value,
        "to_status": new.value,
        "reason": clip(reason),
        "operation_id": operation_id,
    }


def done_before(tx: Transaction, booking_id: str) -> bool:
    """Whether an earlier try of this very operation was committed although its COMMIT got no answer."""
    if not tx.operation.commit_unknown:
        return False
    parameters = {"id": booking_id, "operation": tx.operation.id}
    return tx.execute(_OWN_EVENT, parameters).first() is not None


def clip(text: str | None) -> str | None:
    """``text`` on one line, cut to what the columns hold."""
    return None if text is None else " ".join(storable(text).split())[:REASON_LENGTH]
