"""Schedule files: what an import changes, and rows of an export."""

from __future__ import annotations

from typing import Any, Final

from flightctl.core.model.schedules import DifferenceKind, ExportedRow, FlightDifference, ImportResult
from flightctl.views.base import Cell, Fields, View, day_and_time, local, money, printable, text_of


def _difference(record: FlightDifference) -> Fields:
    return {
        "kind": record.kind.value,
        "flightId": record.flight_id,
        "source": record.source,
        "destination": record.destination,
        "departureTime": local(record.departure_time, record.source),
        "arrivalTime": local(record.arrival_time, record.destination),
        "bookings": record.bookings,
        "bookedSeats": record.booked_seats,
        "differences": [{"field": one.name, "loaded": one.old, "file": one.new} for one in record.changes],
        "outcome": record.outcome.value,
        "reason": record.reason,
    }


def _flat(fields: Fields) -> Fields:
    changes = [f"{one['field']}={one['loaded']}→{one['file']}" for one in fields["differences"]]
    return {**fields, "differences": changes}


def _short(value: str) -> str:
    return value[11:] if "T" in value else value


def _what(fields: Fields) -> str:
    words = {"departureTime": "departs", "arrivalTime": "arrives", "totalSeats": "seats", "destination": "to"}
    parts = []
    for one in fields["differences"]:
        old, new = one["loaded"], one["file"]
        same_day = old[:10] == new[:10]
        old, new = (_short(old), _short(new)) if same_day else (old.replace("T", " "), new.replace("T", " "))
        parts.append(f"{words.get(one['field'], one['field'])} {old}→{new}")
    return printable("; ".join(parts)) or "–"


DIFFERENCE: Final = View(
    _difference,
    (
        "kind", "flightId", "source", "destination", "departureTime", "arrivalTime", "bookings", "bookedSeats",
        "differences", "outcome", "reason",
    ),
    cells=(
        text_of("kind"),
        text_of("flightId", "flight"),
        Cell("route", lambda fields: f"{fields['source']}→{fields['destination']}"),
        Cell("depart", lambda fields: day_and_time(fields["departureTime"])),
        text_of("bookings", right=True),
        text_of("bookedSeats", "seats", right=True),
        text_of("outcome"),
        Cell("difference", _what, prose=True),
        text_of("reason", prose=True),
    ),
    id_keys=("flightId",),
    flat=_flat,
)  # fmt: skip


def import_document(result: ImportResult) -> dict[str, Any]:
    kinds = DifferenceKind
    at_stake = [one for one in result.differences if one.bookings]
    return {
        "file": result.file,
        "from": result.first_day.isoformat(),
        "to": result.last_day.isoformat(),
        "applied": result.applied,
        "rows": result.rows,
        "skipped": len(result.rejected),
        "codeshares": result.codeshares,
        "flights": result.flights,
        "unchanged": result.unchanged,
        "cancelled": result.cancelled,
        "new": result.new,
        "changed": result.count(kinds.CHANGED),
        "gone": result.count(kinds.GONE),
        "left": len(result.left),
        "bookingsAtStake": sum(one.bookings for one in at_stake),
        "seatsAtStake": sum(one.booked_seats for one in at_stake),
        "changes": [_difference(one) for one in result.differences],
        "rejected": [{"line": line, "reason": reason} for line, reason in result.rejected],
    }


def import_summary(result: ImportResult) -> str:
    """One line for people."""
    document = import_document(result)
    told = ", ".join(f"{document[key]:,} {key}" for key in ("unchanged", "new", "changed", "gone"))
    stake = f"; {document['seatsAtStake']} booked seats at stake" if document["seatsAtStake"] else ""
    return f"{document['flights']:,} flights in the file from {document['from']} to {document['to']}: {told}{stake}."


def _row(record: ExportedRow) -> Fields:
    return {
        "carrier": record.carrier,
        "flightNumber": record.flight_number,
        "origin": record.origin,
        "destination": record.destination,
        "departureLocal": record.departure_local,
        "arrivalLocal": record.arrival_local,
        "arrivalDayOffset": record.arrival_day_offset,
        "daysOfOperation": record.days,
        "validFrom": record.valid_from.isoformat(),
        "validTo": record.valid_to.isoformat(),
        "seats": record.seats,
        "price": money(record.price),
        "flight": record.carrier + record.flight_number,
    }


EXPORTED: Final = View(
    _row,
    (
        "carrier", "flightNumber", "origin", "destination", "departureLocal", "arrivalLocal", "arrivalDayOffset",
        "daysOfOperation", "validFrom", "validTo", "seats", "price",
    ),
    id_keys=("flight",),
)  # fmt: skip
