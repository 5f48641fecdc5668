"""Schedules that come from files and go to them."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class SeedRequest:
    """``dataset`` demo or india, unless a schedule ``file`` is given; ``start`` is ``today``, ``+3d`` or a date."""

    dataset: str = "demo"
    file: str | None = None
    start: str = "today"
    days: int = 30
    reset: bool = False


@dataclass(frozen=True, slots=True)
class SeedResult:
    """``flights`` of the source in the range, there already or not; ``added`` now; ``rejected`` (line, reason)."""

    flights: int
    added: int
    airports: int
    first_day: date
    last_day: date
    rejected: tuple[tuple[int, str], ...] = ()


class DifferenceKind(StrEnum):
    """Of a flight, between a schedule file and what is loaded."""

    NEW = "new"
    CHANGED = "changed"
    GONE = "gone"


class ImportOutcome(StrEnum):
    """What an import will do with a difference, or has done."""

    ADD = "add"
    UPDATE = "update"
    REINSTATE = "reinstate"
    CANCEL = "cancel"
    LEAVE = "leave"
    ADDED = "added"
    UPDATED = "updated"
    REINSTATED = "reinstated"
    CANCELLED = "cancelled"
    LEFT = "left"


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One value of a flight: as it is loaded, and as the file has it. ``name`` is its JSON key."""

    name: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class FlightDifference:
    """Times are the file's, or those loaded of a flight that is gone. ``bookings`` and ``booked_seats``: PENDING and
    CONFIRMED ones on it."""

    kind: DifferenceKind
    flight_id: str
    source: str
    destination: str
    departure_time: datetime
    arrival_time: datetime
    outcome: ImportOutcome
    bookings: int = 0
    booked_seats: int = 0
    changes: tuple[FieldChange, ...] = ()
    reason: str | None = None
    """Why it is left as it is; of one that was changed, what is still to be done about its bookings."""


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """``start`` and ``days`` are the file's own when None. ``cancel_booked``: cancel flights that are gone although
    they have bookings; ``keep_gone``: the file is not the whole schedule, so no flight is gone; ``reinstate``: flights
    of the file that are cancelled fly again."""

    file: str
    start: str | None = None
    days: int | None = None
    cancel_booked: bool = False
    keep_gone: bool = False
    reinstate: bool = False


@dataclass(frozen=True, slots=True)
class ImportResult:
    """``differences``: all but new flights beyond the first few thousand, which ``new`` counts all the same;
    ``flights`` of the file in the range, of which ``cancelled`` are cancelled here and stay so."""

    file: str
    first_day: date
    last_day: date
    applied: bool
    rows: int
    rejected: tuple[tuple[int, str], ...]
    codeshares: int
    notes: tuple[str, ...]
    flights: int
    unchanged: int
    cancelled: int
    new: int
    differences: tuple[FlightDifference, ...]

    def count(self, kind: DifferenceKind) -> int:
        """Of changed or gone flights."""
        return sum(difference.kind is kind for difference in self.differences)

    @property
    def left(self) -> tuple[FlightDifference, ...]:
        """What the import does not touch, for each a reason."""
        return tuple(d for d in self.differences if d.outcome in {ImportOutcome.LEAVE, ImportOutcome.LEFT})

    @property
    def unfinished(self) -> tuple[FlightDifference, ...]:
        """What the import did, and somebody has to go on with, for each a reason."""
        left = {ImportOutcome.LEAVE, ImportOutcome.LEFT}
        return tuple(d for d in self.differences if d.reason and d.outcome not in left)

    @property
    def to_do(self) -> int:
        """Flights that the import will change, or has changed."""
        return self.new + sum(d.kind is not DifferenceKind.NEW for d in self.differences) - len(self.left)


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """``first``: a date, ``today``, ``+3d``; ``days``: until the last flight when None; ``carrier``: all when None."""

    ssim: bool = False
    first: str = "today"
    days: int | None = None
    carrier: str | None = None


@dataclass(frozen=True, slots=True)
class ExportedRow:
    """A row of a schedule file; ``days`` are weekdays (1 = Monday) at the origin, times local at each airport."""

    carrier: str
    flight_number: str
    origin: str
    destination: str
    departure_local: str
    arrival_local: str
    arrival_day_offset: int
    days: str
    valid_from: date
    valid_to: date
    seats: int
    price: Decimal


@dataclass(frozen=True, slots=True)
class ExportResult:
    """``text`` of the file; ``left_out``: flights that no file can tell, with the reason."""

    text: str
    rows: tuple[ExportedRow, ...]
    flights: int
    left_out: tuple[tuple[str, str], ...]
