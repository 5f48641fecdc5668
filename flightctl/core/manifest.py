"""``manifest``: who has seats on a flight."""

from typing import Any, Final

from sqlalchemy import bindparam, func, select

from flightctl.core.database import Transaction
from flightctl.core.errors import InvalidFlightError
from flightctl.core.identifiers import normal_id
from flightctl.core.model.flights import ManifestEntry
from flightctl.core.model.states import BookingStatus, PaymentStatus
from flightctl.core.runtime import Runtime
from flightctl.core.schema import booking_flights, bookings, flights, payments, refunds

_FLIGHT: Final = select(flights.c.flight_id).where(flights.c.flight_id == bindparam("id"))
_OTHER_LEGS: Final = booking_flights.alias("other_legs")
_LEGS: Final = (
    select(func.count()).where(_OTHER_LEGS.c.booking_id == bookings.c.booking_id).correlate(bookings).scalar_subquery()
)
_BACK: Final = (
    select(func.coalesce(func.sum(refunds.c.amount), 0))
    .where(refunds.c.payment_id == payments.c.payment_id)
    .correlate(payments)
    .scalar_subquery()
)
# As ``money.standing``: what went or goes back pays for these seats no more.
_PAID: Final = (
    select(func.sum(payments.c.amount - payments.c.retained - _BACK))
    .where(payments.c.booking_id == bookings.c.booking_id, payments.c.status == PaymentStatus.SUCCESS.value)
    .correlate(bookings)
    .scalar_subquery()
)
_ENTRIES: Final = (
    select(bookings, booking_flights.c.leg_order, _LEGS.label("legs"), _PAID.label("paid"))
    .join(booking_flights, booking_flights.c.booking_id == bookings.c.booking_id)
    .where(booking_flights.c.flight_id == bindparam("id"), bookings.c.status.in_(bindparam("states", expanding=True)))
    .order_by(bookings.c.booking_id)
)
_SEATED: Final = (BookingStatus.CONFIRMED.value, BookingStatus.PENDING.value)


def manifest(runtime: Runtime, flight_id: str, *, ended_too: bool) -> tuple[ManifestEntry, ...]:
    """The flight's PENDING and CONFIRMED bookings, with ``ended_too`` all that there ever were, by id.

    Raises InvalidFlightError for an unknown flight.
    """
    flight_id = normal_id(flight_id)
    states = list(BookingStatus) if ended_too else list(_SEATED)

    def work(tx: Transaction) -> tuple[ManifestEntry, ...]:
        if tx.execute(_FLIGHT, {"id": flight_id}).first() is None:
            raise InvalidFlightError(f"there is no flight {flight_id[:60]}", details={"flightId": flight_id[:64]})
        rows = tx.execute(_ENTRIES, {"id": flight_id, "states": [str(state) for state in states]})
        return tuple(map(_entry, rows))

    return runtime.database.read(work)


def _entry(row: Any) -> ManifestEntry:
    return ManifestEntry(
        booking_id=row.booking_id,
        user_id=row.user_id,
        seats=row.seats,
        status=BookingStatus(row.status),
        flight_identifier=row.flight_identifier,
        leg_order=row.leg_order,
        legs=row.legs,
        total_price=row.total_price,
        paid=row.paid,
        created_at=row.created_at,
    )
