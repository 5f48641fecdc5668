"""What keeps the inventory in order: sweeping, auditing, archiving, examining."""

from dataclasses import dataclass
from datetime import date

from flightctl.core.model.disruptions import Disruption


@dataclass(frozen=True, slots=True)
class SweepResult:
    expired_bookings: int = 0
    expired_reservations: int = 0
    seats_released: int = 0
    flights: int = 0
    took_ms: int = 0
    skipped: tuple[str, ...] = ()
    """Booking ids that could not be swept; the command exits 9 when there are any."""


@dataclass(frozen=True, slots=True)
class ArchiveResult:
    """``kept`` bookings of flown flights stay: something about them is open, or they fly again."""

    flights: int
    bookings: int
    kept: int
    before: date
    took_ms: int


@dataclass(frozen=True, slots=True)
class Violation:
    kind: str
    flight_id: str | None
    booking_id: str | None
    detail: str


@dataclass(frozen=True, slots=True)
class AuditResult:
    flights_checked: int
    bookings_checked: int
    violations: tuple[Violation, ...]
    repaired: tuple[str, ...] = ()
    disrupted: tuple[Disruption, ...] = ()
    """Bookings that wait for their re-accommodation: no violations."""


@dataclass(frozen=True, slots=True)
class DoctorCheck:
    """One line of ``doctor``: ``state`` is ok, warning or failed."""

    name: str
    state: str
    detail: str
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class PackResult:
    days: int
    flights: int
    bytes: int
    took_ms: int


@dataclass(frozen=True, slots=True)
class PrecomputeResult:
    routes: int
    days: int
    took_ms: int
