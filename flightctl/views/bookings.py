"""Bookings and their events."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from flightctl.views.base import Cell, Fields, View, instant, money, text_of

if TYPE_CHECKING:
    from flightctl.core.model.bookings import Booking, BookingEvent, BookResult, ChangeResult, RefundQuote
    from flightctl.core.model.flights import ManifestEntry


def booking(record: Booking) -> dict[str, Any]:
    return {
        "bookingId": record.booking_id,
        "userId": record.user_id,
        "flightType": record.flight_type.value,
        "flightIdentifier": record.flight_identifier,
        "noOfSeats": record.seats,
        "totalPrice": money(record.total_price),
        "status": record.status.value,
        "flightIds": list(record.flight_ids),
        "expiresAt": instant(record.expires_at),
        "createdAt": instant(record.created_at),
        "paymentId": record.payment_id,
        "idempotencyKey": record.idempotency_key,
    }


def _booked(record: BookResult) -> Fields:
    return booking(record.booking) | {"replayed": record.replayed}


def _changed_booking(record: ChangeResult) -> Fields:
    reason = record.booking.failure_reason
    return booking(record.booking) | {"replayed": False, "changed": record.changed, "failureReason": reason}


def _listed_booking(record: Booking) -> Fields:
    return booking(record) | {"failureReason": record.failure_reason, "updatedAt": instant(record.updated_at)}


_BOOKING_COLUMNS: Final = (
    "bookingId", "userId", "flightType", "flightIdentifier", "noOfSeats", "totalPrice", "status", "flightIds",
    "expiresAt", "createdAt", "paymentId", "idempotencyKey",
)  # fmt: skip

BOOKED: Final = View(_booked, (*_BOOKING_COLUMNS, "replayed"), id_keys=("bookingId",))
CHANGED_BOOKING: Final = View(
    _changed_booking, (*_BOOKING_COLUMNS, "replayed", "changed", "failureReason"), id_keys=("bookingId",)
)
BOOKING: Final = View(
    _listed_booking,
    (*_BOOKING_COLUMNS, "failureReason", "updatedAt"),
    cells=(
        text_of("bookingId", "booking"),
        text_of("status"),
        text_of("userId", "user"),
        text_of("noOfSeats", "seats", right=True),
        text_of("totalPrice", "total", right=True),
        text_of("createdAt", "created"),
        text_of("flightIdentifier", "itinerary", wide=True),
    ),
    id_keys=("bookingId",),
)


def _quote(record: RefundQuote) -> Fields:
    return {
        "bookingId": record.booking_id,
        "status": record.status.value,
        "noOfSeats": record.seats,
        "seatsLeft": record.seats_left,
        "price": money(record.price),
        "share": None if record.share is None else float(record.share),
        "refund": money(record.refund),
        "retained": money(record.retained),
        "hoursLeft": float(record.hours_left),
    }


QUOTE: Final = View(
    _quote,
    ("bookingId", "status", "noOfSeats", "seatsLeft", "price", "share", "refund", "retained", "hoursLeft"),
    id_keys=("bookingId",),
)


def _event(record: BookingEvent) -> Fields:
    return {
        "bookingId": record.booking_id,
        "at": instant(record.at),
        "actor": record.actor,
        "fromStatus": None if record.from_status is None else record.from_status.value,
        "toStatus": record.to_status.value,
        "reason": record.reason,
    }


EVENT: Final = View(
    _event,
    ("bookingId", "at", "actor", "fromStatus", "toStatus", "reason"),
    cells=(
        text_of("at"),
        text_of("actor"),
        text_of("fromStatus", "from"),
        text_of("toStatus", "to"),
        text_of("reason", prose=True),
    ),
    id_keys=("bookingId",),
)


def _manifest_entry(record: ManifestEntry) -> Fields:
    return {
        "bookingId": record.booking_id,
        "userId": record.user_id,
        "noOfSeats": record.seats,
        "status": record.status.value,
        "flightIdentifier": record.flight_identifier,
        "legOrder": record.leg_order,
        "legs": record.legs,
        "totalPrice": money(record.total_price),
        "paid": money(record.paid or Decimal(0)),
        "createdAt": instant(record.created_at),
    }


MANIFEST: Final = View(
    _manifest_entry,
    (
        "bookingId", "userId", "noOfSeats", "status", "flightIdentifier", "legOrder", "legs", "totalPrice", "paid",
        "createdAt",
    ),
    cells=(
        text_of("bookingId", "booking"),
        text_of("userId", "user"),
        text_of("noOfSeats", "seats", right=True),
        text_of("status"),
        Cell("leg", lambda fields: f"{fields['legOrder']}/{fields['legs']}"),
        text_of("paid", right=True),
        text_of("createdAt", "booked"),
        text_of("flightIdentifier", "itinerary", wide=True),
    ),
    id_keys=("bookingId",),
)  # fmt: skip
