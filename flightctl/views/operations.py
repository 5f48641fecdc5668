"""What operators' commands report: sweep, seed, routes, audit, doctor, database and settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from flightctl.views.base import Cell, Fields, View, printable, text_of
from flightctl.views.disruptions import disruption

if TYPE_CHECKING:
    from flightctl.core.grants import Grant
    from flightctl.core.model.operations import (
        ArchiveResult,
        AuditResult,
        DoctorCheck,
        PackResult,
        PrecomputeResult,
        SweepResult,
        Violation,
    )
    from flightctl.core.model.schedules import SeedResult


def _swept(record: SweepResult) -> Fields:
    return {
        "expiredBookings": record.expired_bookings,
        "expiredReservations": record.expired_reservations,
        "seatsReleased": record.seats_released,
        "flights": record.flights,
        "tookMs": record.took_ms,
    }


SWEPT: Final = View(_swept, ("expiredBookings", "expiredReservations", "seatsReleased", "flights", "tookMs"))


def _seeded(record: SeedResult) -> Fields:
    return {
        "flights": record.flights,
        "added": record.added,
        "airports": record.airports,
        "from": record.first_day.isoformat(),
        "to": record.last_day.isoformat(),
        "skipped": len(record.rejected),
    }


SEEDED: Final = View(_seeded, ("flights", "added", "airports", "from", "to", "skipped"))


def _precomputed(record: PrecomputeResult) -> Fields:
    return {"routes": record.routes, "days": record.days, "tookMs": record.took_ms}


PRECOMPUTED: Final = View(_precomputed, ("routes", "days", "tookMs"))


def _packed(record: PackResult) -> Fields:
    return {"days": record.days, "flights": record.flights, "bytes": record.bytes, "tookMs": record.took_ms}


PACKED: Final = View(_packed, ("days", "flights", "bytes", "tookMs"))


def violation_fields(record: Violation) -> Fields:
    return {
        "kind": record.kind,
        "flightId": record.flight_id,
        "bookingId": record.booking_id,
        "detail": record.detail,
    }


VIOLATION: Final = View(
    violation_fields,
    ("kind", "flightId", "bookingId", "detail"),
    cells=(
        text_of("kind"),
        text_of("flightId", "flight"),
        text_of("bookingId", "booking"),
        text_of("detail", prose=True),
    ),
    id_keys=("bookingId", "flightId"),
)


def audit_document(result: AuditResult) -> dict[str, Any]:
    """``disrupted`` stands in it only where bookings wait to be moved."""
    document: dict[str, Any] = {
        "flightsChecked": result.flights_checked,
        "bookingsChecked": result.bookings_checked,
        "violations": [violation_fields(violation) for violation in result.violations],
        "repaired": list(result.repaired),
    }
    if result.disrupted:
        document["disrupted"] = [disruption(one) for one in result.disrupted]
    return document


def _check(record: DoctorCheck) -> Fields:
    return {"name": record.name, "state": record.state, "detail": record.detail, "hint": record.hint}


CHECK: Final = View(
    _check,
    ("name", "state", "detail", "hint"),
    cells=(
        text_of("name", "check"),
        text_of("state"),
        Cell(
            "detail", lambda fields: printable(". ".join(filter(None, (fields["detail"], fields["hint"])))), prose=True
        ),
    ),
    id_keys=("name",),
)


def doctor_document(checks: tuple[DoctorCheck, ...]) -> dict[str, Any]:
    return {"healthy": all(check.state != "failed" for check in checks), "checks": [_check(check) for check in checks]}


# Those that no model record stands behind take their fields as they are.
SETTING: Final = View(
    dict,
    ("key", "value", "source", "variable"),
    cells=(text_of("key", "setting"), text_of("value", prose=True), text_of("source")),
    id_keys=("key",),
)
CONTEXT: Final = View(
    dict,
    ("name", "current", "environment", "databaseUrl", "redisUrl"),
    cells=(
        Cell("", lambda fields: "*" if fields["current"] else ""),
        text_of("name", "context"),
        text_of("environment"),
        text_of("databaseUrl", "database"),
        text_of("redisUrl", "Redis"),
    ),
    id_keys=("name",),
)
USED_CONTEXT: Final = View(
    dict, ("name", "current", "environment", "databaseUrl", "redisUrl", "changed"), id_keys=("name",)
)


def _archived(record: ArchiveResult) -> Fields:
    return {
        "flights": record.flights,
        "bookings": record.bookings,
        "kept": record.kept,
        "before": record.before.isoformat(),
        "tookMs": record.took_ms,
    }


ARCHIVED: Final = View(_archived, ("flights", "bookings", "kept", "before", "tookMs"))


def _grant(record: Grant) -> Fields:
    return {"role": record.role.value, "statement": record.statement}


GRANT: Final = View(
    _grant,
    ("role", "statement"),
    cells=(text_of("role"), text_of("statement", prose=True)),
    id_keys=("statement",),
)
REVISION: Final = View(dict, ("revision", "head", "upToDate"), id_keys=("revision",))
