"""Re-accommodation plans: what stands in the file, written and read.

A plan is JSON that people may edit: for each disrupted booking the itineraries to try, in that order. See the README.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from flightctl.core.errors import FlightctlError, ValidationError
from flightctl.core.identifiers import normal_id, parse_identifier
from flightctl.core.model.states import FlightType

FORMAT: Final = "flightctl re-accommodation plan 1"


@dataclass(frozen=True, slots=True)
class Alternative:
    """An itinerary that may replace a booking's; ``flight_ids`` in the order of its legs. ``delay_minutes`` (negative:
    earlier) and the times are for people: what holds when it is applied is looked up then."""

    flight_identifier: str
    flight_type: FlightType
    flight_ids: tuple[str, ...]
    departure_time: datetime | None = None
    arrival_time: datetime | None = None
    delay_minutes: int | None = None
    available_seats: int | None = None


@dataclass(frozen=True, slots=True)
class PlannedBooking:
    booking_id: str
    alternatives: tuple[Alternative, ...]
    user_id: str | None = None
    seats: int | None = None
    flight_identifier: str | None = None
    arrival_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    flight_id: str
    created_at: datetime | None
    bookings: tuple[PlannedBooking, ...]


def require_writable(path: str) -> None:
    """Before anything is changed: raises ValidationError where no new file could be written."""
    target = Path(path)
    if target.exists():
        raise ValidationError(
            f"{path} is there already; a plan is not written over it", hint="Name another file, or move it away."
        )
    try:
        with open(_draft(target), "x", encoding="utf-8"):
            pass
        _draft(target).unlink()
    except OSError as error:
        raise ValidationError(f"{path} cannot be written: {error.strerror}", hint="Name another file.") from None


def write_plan(path: str, plan: Plan) -> None:
    """Whole or not at all. Raises ValidationError where the file cannot be written."""
    target = Path(path)
    draft = _draft(target)
    try:
        with open(draft, "w", encoding="utf-8") as file:
            json.dump(_document(plan), file, ensure_ascii=False, indent=2)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(target)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise ValidationError(
            f"the plan cannot be written to {path}: {error.strerror}",
            hint="What was changed stands; ask for the plan again with another file.",
        ) from None


def _draft(target: Path) -> Path:
    return target.with_name(f".{target.name}.{os.getpid()}")


def _document(plan: Plan) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "flightId": plan.flight_id,
        "createdAt": _instant(plan.created_at),
        "bookings": [
            {
                "bookingId": booking.booking_id,
                "userId": booking.user_id,
                "noOfSeats": booking.seats,
                "flightIdentifier": booking.flight_identifier,
                "arrivalTime": _instant(booking.arrival_time),
                "alternatives": [
                    {
                        "flightIdentifier": one.flight_identifier,
                        "departureTime": _instant(one.departure_time),
                        "arrivalTime": _instant(one.arrival_time),
                        "delayMinutes": one.delay_minutes,
                        "availableSeats": one.available_seats,
                    }
                    for one in booking.alternatives
                ],
            }
            for booking in plan.bookings
        ],
    }


def _instant(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat().replace("+00:00", "Z")


def read_plan(path: str) -> Plan:
    """Raises ValidationError for a file that is no plan, naming what is wrong with it."""
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ValidationError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise _no_plan(path, "it is not JSON") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise _no_plan(path, f'its "format" is not "{FORMAT}"')
    entries = document.get("bookings")
    if not isinstance(entries, list):
        raise _no_plan(path, '"bookings" is not a list')
    found = [_booking(path, number, entry) for number, entry in enumerate(entries, 1)]
    if len({booking.booking_id for booking in found}) < len(found):
        raise _no_plan(path, "a booking stands in it twice")
    return Plan(str(document.get("flightId", "")), None, tuple(found))


def _booking(path: str, number: int, entry: Any) -> PlannedBooking:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("bookingId"), str):
        raise _no_plan(path, f'entry {number} of "bookings" has no "bookingId"')
    booking_id = normal_id(entry["bookingId"])
    wanted = entry.get("alternatives")
    if not isinstance(wanted, list):
        raise _no_plan(path, f'"alternatives" of booking {booking_id[:20]} is not a list')
    return PlannedBooking(booking_id, tuple(_alternative(path, booking_id, one) for one in wanted))


def _alternative(path: str, booking_id: str, entry: Any) -> Alternative:
    identifier = entry.get("flightIdentifier") if isinstance(entry, Mapping) else None
    if not isinstance(identifier, str):
        raise _no_plan(path, f'an alternative of booking {booking_id[:20]} has no "flightIdentifier"')
    try:
        kind, normal, flight_ids = parse_identifier(identifier)
    except FlightctlError as error:
        raise _no_plan(path, f"booking {booking_id[:20]}: {error.message}") from None
    if len(set(flight_ids)) < len(flight_ids):
        raise _no_plan(path, f"booking {booking_id[:20]}: {normal} has a flight twice")
    return Alternative(normal, kind, flight_ids)


def _no_plan(path: str, why: str) -> ValidationError:
    return ValidationError(
        f"{path} is no re-accommodation plan: {why}", hint="`flightctl flights cancel ID --plan FILE` writes one."
    )
