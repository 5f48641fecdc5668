"""Holds that are running, and what became of those that were to run longer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from flightctl.views.base import Cell, Fields, View, instant, text_of

if TYPE_CHECKING:
    from flightctl.core.model.bookings import ExtendResult, Hold, Skipped


def _hold(record: Hold) -> dict[str, Any]:
    return {
        "bookingId": record.booking_id,
        "userId": record.user_id,
        "flightIdentifier": record.flight_identifier,
        "flightIds": list(record.flight_ids),
        "noOfSeats": record.seats,
        "createdAt": instant(record.created_at),
        "expiresAt": instant(record.expires_at),
        "secondsLeft": record.seconds_left,
    }


def _left(fields: Fields) -> str:
    seconds = fields["secondsLeft"]
    if not seconds:
        return "lapsed"
    hours, minutes = seconds // 3600, seconds // 60 % 60
    return f"{hours}h {minutes:02d}m" if hours else f"{minutes}m {seconds % 60:02d}s"


HOLD: Final = View(
    _hold,
    (
        "bookingId", "userId", "flightIdentifier", "flightIds", "noOfSeats", "createdAt", "expiresAt", "secondsLeft",
    ),
    cells=(
        text_of("bookingId", "booking"),
        Cell("left", _left, right=True),
        text_of("expiresAt", "expires"),
        text_of("userId", "user"),
        text_of("noOfSeats", "seats", right=True),
        text_of("flightIdentifier", "itinerary", wide=True),
    ),
    id_keys=("bookingId",),
)  # fmt: skip


def skipped(record: Skipped) -> dict[str, Any]:
    return {"bookingId": record.booking_id, "reason": record.reason}


def _extended(record: ExtendResult) -> Fields:
    return {
        "extended": record.extended,
        "skipped": [skipped(one) for one in record.skipped],
        "failed": [one.booking_id for one in record.failed],
    }


def _as_ids(fields: Fields) -> Fields:
    return {**fields, "skipped": [one["bookingId"] for one in fields["skipped"]]}


SKIPPED: Final = View(
    dict,
    ("bookingId", "reason"),
    cells=(text_of("bookingId", "skipped"), text_of("reason", prose=True)),
    id_keys=("bookingId",),
)
EXTENDED: Final = View(_extended, ("extended", "skipped", "failed"), flat=_as_ids, nested=("skipped", SKIPPED))
