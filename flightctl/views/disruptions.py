"""Bookings that wait to be moved, and what became of those that a plan named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from flightctl.views.base import Cell, Fields, View, instant, money, text_of

if TYPE_CHECKING:
    from flightctl.core.model.disruptions import Disruption, Reaccommodated, ReaccommodateResult
    from flightctl.core.model.flights import AffectedBooking


def disruption(record: Disruption) -> dict[str, Any]:
    return {
        "bookingId": record.booking_id,
        "flightId": record.flight_id,
        "flightIdentifier": record.flight_identifier,
        "since": instant(record.since),
    }


DISRUPTION: Final = View(disruption, ("bookingId", "flightId", "flightIdentifier", "since"), id_keys=("bookingId",))


def affected(record: AffectedBooking) -> dict[str, Any]:
    return {
        "bookingId": record.booking_id,
        "userId": record.user_id,
        "noOfSeats": record.seats,
        "before": record.before.value,
        "after": record.after.value,
        "disrupted": record.disrupted,
        "refund": money(record.refund),
    }


def _becomes(fields: Fields) -> str:
    return "waits to be moved" if fields["disrupted"] else str(fields["after"])


AFFECTED: Final = View(
    dict,
    ("bookingId", "userId", "noOfSeats", "before", "after", "disrupted", "refund"),
    cells=(
        text_of("bookingId", "booking"),
        text_of("userId", "user"),
        text_of("noOfSeats", "seats", right=True),
        text_of("before"),
        Cell("becomes", _becomes),
        text_of("refund", right=True),
    ),
    id_keys=("bookingId",),
)


def _reaccommodated(record: Reaccommodated) -> dict[str, Any]:
    return {
        "bookingId": record.booking_id,
        "outcome": record.outcome,
        "from": record.before,
        "to": record.after,
        "delayMinutes": record.delay_minutes,
        "detail": record.detail,
    }


def reaccommodated_document(result: ReaccommodateResult) -> dict[str, Any]:
    return {
        **{outcome: result.count(outcome) for outcome in ("moved", "cancelled", "unchanged", "failed")},
        "bookings": [_reaccommodated(booking) for booking in result.bookings],
    }


REACCOMMODATED: Final = View(
    _reaccommodated,
    ("bookingId", "outcome", "from", "to", "delayMinutes", "detail"),
    cells=(
        text_of("bookingId", "booking"),
        text_of("outcome"),
        text_of("delayMinutes", "min later", right=True),
        text_of("detail", prose=True),
        text_of("to", wide=True),
    ),
    id_keys=("bookingId",),
)
