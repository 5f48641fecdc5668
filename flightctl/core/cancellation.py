"""Giving bookings up: ``release`` by an agent, and what a cancelled flight does to its bookings."""

from decimal import Decimal
from typing import Final

from flightctl.core import inventory, money, records
from flightctl.core.database import Operation, Transaction
from flightctl.core.errors import InvalidStateError, ValidationError
from flightctl.core.identifiers import normal_id
from flightctl.core.model import Booking, BookingStatus, ChangeResult, HoldOutcome, PaymentStatus
from flightctl.core.records import Locked
from flightctl.core.runtime import Runtime

RELEASED: Final = "released by an agent"


class ConfirmationNeededError(ValidationError):
    """The booking is CONFIRMED: giving it up wants a second word."""

    default_hint = "Pass --yes to cancel it; its money is then due back."


def release(runtime: Runtime, booking_id: str, *, reason: str | None, confirmed_too: bool) -> ChangeResult:
    """End a PENDING booking, or with ``confirmed_too`` a CONFIRMED one, as CANCELLED.

    Raises BookingNotFoundError, InvalidStateError (FAILED or EXPIRED: it ended another way), ConfirmationNeededError.
    """
    booking_id = normal_id(booking_id)

    def work(tx: Transaction) -> ChangeResult:
        booking = records.lock_booking(tx, booking_id)
        if booking.status is BookingStatus.CANCELLED:
            changed = records.done_before(tx, booking.id)
            return ChangeResult(records.to_booking(tx, booking.row), changed)
        if booking.status in {BookingStatus.FAILED, BookingStatus.EXPIRED}:
            raise InvalidStateError(
                f"booking {booking.id} is {booking.status.value} already; its seats are free",
                details={"bookingId": booking.id, "status": booking.status.value},
            )
        if booking.status is BookingStatus.CONFIRMED and not confirmed_too:
            raise ConfirmationNeededError(
                f"booking {booking.id} is CONFIRMED", details={"bookingId": booking.id, "status": "CONFIRMED"}
            )
        return ChangeResult(cancel_booking(tx, booking, actor=runtime.actor, reason=reason or RELEASED), True)

    flight_ids = runtime.database.read(lambda tx: records.flight_ids_of(tx, booking_id))
    return inventory.change_seats(runtime, flight_ids, work, Operation())


def cancel_booking(tx: Transaction, booking: Locked, *, actor: str, reason: str) -> Booking:
    """End a locked PENDING or CONFIRMED booking as CANCELLED: seats back, money REFUND_DUE."""
    owed = Decimal(0)
    if booking.status is BookingStatus.PENDING:
        inventory.release_holds(tx, booking.id, HoldOutcome.RELEASED)
    else:
        seats = booking.row.seats
        inventory.give_back(tx, dict.fromkeys(booking.flight_ids, seats))
        for row in money.payments_of(tx, booking.id):
            if PaymentStatus(row.status) is PaymentStatus.SUCCESS:
                owed += money.owe_back(tx, row, message=reason)
    refund = f"; {owed} is due back" if owed else ""
    records.move(tx, booking, BookingStatus.CANCELLED, actor=actor, reason=f"{reason}{refund}", failure=reason)
    return records.load_booking(tx, booking.id)
