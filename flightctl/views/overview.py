"""What ``top`` shows of one look: the JSON document, and rows for programs. The screen is ``top_screen``'s."""

from collections.abc import Iterator
from typing import Any, Final

from flightctl.core.overview import RECENT_SECONDS, Overview
from flightctl.views.base import Fields, View, instant, local, money

ROW: Final = View(dict, ("area", "name", "value"))
"""One figure a row, for CSV and pipes."""


def overview_document(look: Overview) -> dict[str, Any]:
    now = look.vitals
    return {
        "at": instant(now.at),
        "databaseLatencyMs": round(look.latency * 1000, 1),
        "redis": look.redis,
        "bookings": {
            "lastMinute": look.last_minute,
            "pending": now.pending,
            "recentSeconds": RECENT_SECONDS,
            "recent": dict(look.recent),
            "recentIsAll": look.recent_is_all,
        },
        "holds": {
            "open": now.holds,
            "lapsed": now.lapsed,
            "sweepLagSeconds": round(now.sweep_lag, 1),
            "next": [
                {
                    "bookingId": hold.booking_id,
                    "flightId": hold.flight_id,
                    "seats": hold.seats,
                    "expiresAt": instant(hold.expires_at),
                    "secondsLeft": round((hold.expires_at - now.at).total_seconds(), 1),
                }
                for hold in look.holds
            ],
        },
        "payments": {
            "requested": now.requested,
            "oldestRequestedSeconds": round(now.requested_age, 1),
            "processing": now.processing,
            "overdue": now.overdue,
        },
        "refunds": {
            "due": now.refunds,
            "amount": money(now.refunds_amount),
            "oldestDueSeconds": round(now.refunds_age, 1),
            "byHand": now.refunds_by_hand,
        },
        "workers": {role: len(now.alive(role)) for role in ("sweep", "payments")},
        "hottest": [
            {
                "flightId": flight.flight_id,
                "source": flight.source,
                "destination": flight.destination,
                "departureTime": local(flight.departure_time, flight.source),
                "totalSeats": flight.total_seats,
                "availableSeats": flight.available_seats,
                "load": round(flight.load, 3),
                "recentSeats": flight.recent_seats,
            }
            for flight in look.hot
        ],
    }


def overview_rows(document: Fields) -> Iterator[Fields]:
    """Every figure of the document; holds and flights by their ids."""
    for area, value in document.items():
        if isinstance(value, list):
            for flight in value:
                yield {"area": area, "name": flight["flightId"], "value": flight["load"]}
        elif isinstance(value, dict):
            yield from _group(area, value)
        else:
            yield {"area": "look", "name": area, "value": value}


def _group(area: str, group: Fields) -> Iterator[Fields]:
    for name, value in group.items():
        if isinstance(value, list):
            for hold in value:
                yield {"area": "hold", "name": f"{hold['bookingId']} {hold['flightId']}", "value": hold["secondsLeft"]}
        elif isinstance(value, dict):
            for status, count in value.items():
                yield {"area": area, "name": f"{name} {status}", "value": count}
        else:
            yield {"area": area, "name": name, "value": value}
