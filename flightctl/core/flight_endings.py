"""Ending the bookings of cancelled flights: each in a transaction of its own, and later what a killed cancel left."""

from collections.abc import Callable, Iterator
from typing import Final

from sqlalchemy import bindparam, select

from flightctl.core import disruption, inventory, records
from flightctl.core.cancellation import cancel_booking
from flightctl.core.database import Operation, Transaction
from flightctl.core.errors import (
    DatabaseUnavailableError,
    FlightctlError,
    OutcomeUnknownError,
    SchemaMismatchError,
)
from flightctl.core.model.states import BookingStatus, FlightStatus
from flightctl.core.runtime import Runtime
from flightctl.core.schema import booking_flights, bookings, flights
from flightctl.core.sql_functions import utc_now

SWEEPER: Final = "sweeper"
"""The actor of what nobody asked for by hand."""
_CANCELS_SECONDS: Final = 7 * 86400
"""A sweep finishes cancels of flights up to so long after their departure; `audit --repair` does the older ones. Every
sweep looks: without an end it would read the bookings of all flights that were ever cancelled."""
_LEFT_BY_CANCEL: Final = (
    select(bookings.c.booking_id, flights.c.flight_id)
    .join(booking_flights, booking_flights.c.booking_id == bookings.c.booking_id)
    .join(flights, flights.c.flight_id == booking_flights.c.flight_id)
    .where(
        flights.c.status == FlightStatus.CANCELLED.value,
        flights.c.departure_time > utc_now(-_CANCELS_SECONDS),
        bookings.c.status.in_((BookingStatus.PENDING.value, BookingStatus.CONFIRMED.value)),
        ~disruption.waiting(),
        bookings.c.booking_id > bindparam("after"),
    )
    .order_by(bookings.c.booking_id)
)
_CANCELS_PAGE: Final = 1000
"""Bookings that one look for unfinished cancels reads."""


def finish_cancels(runtime: Runtime, stopping: Callable[[], bool]) -> list[str]:
    """End bookings of cancelled flights that the command which cancelled them did not live to end; what could not be
    ended, a line each. ``stopping`` ends the work between two of them."""
    failed = []
    for booking_id, flight_id in _left_by_cancel(runtime):
        if stopping():
            break
        try:
            reason = f"flight {flight_id} was cancelled"
            cancel_for_flight(runtime, booking_id, flight_id, reason=reason, actor=SWEEPER, spare_disrupted=True)
        except (DatabaseUnavailableError, SchemaMismatchError, OutcomeUnknownError):
            raise
        except FlightctlError as error:
            failed.append(f"{booking_id}: {error.message}")
    return failed


def _left_by_cancel(runtime: Runtime) -> Iterator[tuple[str, str]]:
    """Bookings, each with a cancelled flight of it, page by page: what cannot be ended is passed, not met again."""
    query = _LEFT_BY_CANCEL.limit(_CANCELS_PAGE)
    after = ""
    while page := runtime.database.read(
        lambda tx, after=after: tx.execute(query, {"after": after}).all()  # type: ignore[misc]
    ):
        after = page[-1].booking_id
        yield from {row.booking_id: row.flight_id for row in page}.items()
        if len(page) < _CANCELS_PAGE:
            return


def cancel_for_flight(
    runtime: Runtime, booking_id: str, flight_id: str, *, reason: str, actor: str, spare_disrupted: bool
) -> bool:
    """End one booking of a cancelled flight, in a transaction of its own; False when it had ended before, or flies with
    it no more.

    With ``spare_disrupted`` a CONFIRMED one that waits to be moved is left, too.
    """

    def work(tx: Transaction) -> bool:
        booking = records.lock_booking(tx, booking_id)
        if booking.status not in {BookingStatus.PENDING, BookingStatus.CONFIRMED}:
            return False
        waits = booking.status is BookingStatus.CONFIRMED and disruption.mark_of(tx, booking.id) is not None
        if (waits and spare_disrupted) or flight_id not in booking.flight_ids:
            return False
        cancel_booking(tx, booking, actor=actor, reason=reason)
        return True

    flight_ids = runtime.database.read(lambda tx: records.flight_ids_of(tx, booking_id))
    return inventory.change_seats(runtime, sorted({*flight_ids, flight_id}), work, Operation())
