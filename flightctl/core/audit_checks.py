"""What audit looks for: each check reads the whole database on one consistent snapshot, in many short queries.

A query is of a range of keys, or of some of the rows that are in a state which few are in.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from sqlalchemy import and_, bindparam, func, or_, select

from flightctl.core import audit_money, disruption
from flightctl.core.audit_ranges import Look, ranges, some, within
from flightctl.core.database import Transaction
from flightctl.core.model.operations import Violation
from flightctl.core.model.states import BookingStatus, FlightStatus
from flightctl.core.schema import booking_flights, bookings, flights, payments, seat_reservations
from flightctl.core.sql_functions import utc_now

SWEEP_GRACE_SECONDS: Final = 60
ON_CANCELLED_FLIGHT: Final = "booking_on_cancelled_flight"

_OPEN: Final = seat_reservations.c.deleted_at.is_(None)
_ROWS: Final = 5_000
"""Bookings, payments or holds a query: some tens of milliseconds."""
_FLIGHTS: Final = 200
"""Flights a query, each with some hundred bookings."""


@dataclass(frozen=True, slots=True)
class Checked:
    flights: int
    bookings: int
    violations: list[Violation]


def check_all(tx: Transaction, abandon_seconds: float) -> Checked:
    """Every violation in the database, by kind. ``abandon_seconds``: when an unanswered payment is given up."""
    look = Look(
        tx,
        ranges(tx, flights.c.flight_id, _FLIGHTS),
        ranges(tx, bookings.c.booking_id, _ROWS),
        ranges(tx, payments.c.payment_id, _ROWS),
        abandon_seconds,
    )
    return Checked(
        sum(piece.rows for piece in look.flights),
        sum(piece.rows for piece in look.bookings),
        [violation for check in _CHECKS for violation in check(look)],
    )


def _seat_counts(look: Look) -> Iterator[Violation]:
    held = (
        select(seat_reservations.c.flight_id, func.sum(seat_reservations.c.seats).label("seats"))
        .where(_OPEN, within(seat_reservations.c.flight_id))
        .group_by(seat_reservations.c.flight_id)
        .subquery()
    )
    sold = (
        select(booking_flights.c.flight_id, func.sum(bookings.c.seats).label("seats"))
        .join(bookings, bookings.c.booking_id == booking_flights.c.booking_id)
        .where(bookings.c.status == BookingStatus.CONFIRMED.value, within(booking_flights.c.flight_id))
        .group_by(booking_flights.c.flight_id)
        .subquery()
    )
    right = flights.c.total_seats - func.coalesce(sold.c.seats, 0) - func.coalesce(held.c.seats, 0)
    wrong = (
        select(flights.c.flight_id, flights.c.available_seats, right.label("expected"))
        .outerjoin(held, held.c.flight_id == flights.c.flight_id)
        .outerjoin(sold, sold.c.flight_id == flights.c.flight_id)
        .where(within(flights.c.flight_id), flights.c.available_seats != right)
        .order_by(flights.c.flight_id)
    )
    for row in look.over(look.flights, wrong):
        detail = f"{row.available_seats} seats available, {int(row.expected)} by its bookings and holds"
        yield Violation("seat_count", row.flight_id, None, detail)


def _holds(look: Look) -> Iterator[Violation]:
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
            seat_reservations.c.id.in_(bindparam("ids", expanding=True)),
            or_(
                bookings.c.booking_id.is_(None),
                bookings.c.status != BookingStatus.PENDING.value,
                booking_flights.c.leg_order.is_(None),
                bookings.c.seats != seat_reservations.c.seats,
            ),
        )
        .order_by(seat_reservations.c.id)
    )
    holds = select(seat_reservations.c.id).where(_OPEN).order_by(seat_reservations.c.id)
    for row in some(look.tx, holds, query, _ROWS):
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


def _missing_holds(look: Look) -> Iterator[Violation]:
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
        .where(bookings.c.booking_id.in_(bindparam("ids", expanding=True)))
        .group_by(bookings.c.booking_id, booking_flights.c.flight_id)
        .having(count != 1)
        .order_by(bookings.c.booking_id)
    )
    pending = (
        select(bookings.c.booking_id)
        .where(bookings.c.status == BookingStatus.PENDING.value)
        .order_by(bookings.c.booking_id)
    )
    for row in some(look.tx, pending, query, _ROWS):
        if row.holds == 0:
            yield Violation("booking_without_hold", row.flight_id, row.booking_id, "it is PENDING and holds no seats")
        else:
            yield Violation("duplicate_hold", row.flight_id, row.booking_id, f"{row.holds} open holds for one leg")


def _cancelled_flights(look: Look) -> Iterator[Violation]:
    return on_cancelled_flights(look.tx)


def on_cancelled_flights(tx: Transaction) -> Iterator[Violation]:
    """Bookings of cancelled flights that have not ended (yet), and do not wait to be moved either."""
    query = (
        select(bookings.c.booking_id, bookings.c.status, booking_flights.c.flight_id)
        .join(booking_flights, booking_flights.c.booking_id == bookings.c.booking_id)
        .where(
            booking_flights.c.flight_id.in_(bindparam("ids", expanding=True)),
            bookings.c.status.in_((BookingStatus.PENDING.value, BookingStatus.CONFIRMED.value)),
            ~disruption.waiting(),
        )
        .order_by(bookings.c.booking_id)
    )
    cancelled = (
        select(flights.c.flight_id)
        .where(flights.c.status == FlightStatus.CANCELLED.value)
        .order_by(flights.c.flight_id)
    )
    for row in some(tx, cancelled, query, _FLIGHTS):
        yield Violation(
            ON_CANCELLED_FLIGHT, row.flight_id, row.booking_id, f"it is {row.status}, the flight is cancelled"
        )


def _unswept(look: Look) -> Iterator[Violation]:
    query = (
        select(seat_reservations.c.booking_id, seat_reservations.c.flight_id, seat_reservations.c.expires_at)
        .where(_OPEN, seat_reservations.c.expires_at < utc_now(-SWEEP_GRACE_SECONDS))
        .order_by(seat_reservations.c.id)
    )
    for row in look.tx.execute(query):
        lapsed = f"{row.expires_at:%Y-%m-%dT%H:%M:%SZ}"
        yield Violation("unswept_hold", row.flight_id, row.booking_id, f"its hold lapsed at {lapsed} and was not swept")


_CHECKS: Final[tuple[Callable[[Look], Iterator[Violation]], ...]] = (
    _seat_counts,
    _holds,
    _missing_holds,
    _cancelled_flights,
    _unswept,
    audit_money.confirmed_money,
    audit_money.stray_payments,
    audit_money.wrong_refunds,
)
