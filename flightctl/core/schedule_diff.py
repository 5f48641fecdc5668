"""What importing a schedule file would change, flight by flight, and which bookings that would touch. Only reads.

Files tell local times by the minute, so that is how they are compared. Flights that have departed are history: nothing
of theirs is a difference. What a file does not say (a price, in SSIM) is none either.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import groupby
from typing import Any, Final

from sqlalchemy import bindparam, func, select

from flightctl.core import schedule
from flightctl.core.database import Transaction
from flightctl.core.errors import ValidationError
from flightctl.core.model.schedules import DifferenceKind, FieldChange, FlightDifference, ImportOutcome, ImportRequest
from flightctl.core.model.states import BookingStatus, FlightStatus
from flightctl.core.network import to_local
from flightctl.core.runtime import Runtime
from flightctl.core.schema import booking_flights, bookings, flights
from flightctl.core.search import resolve_day
from flightctl.core.seeding import MAX_OFFSET
from flightctl.core.timetable import Schedule, ScheduledFlight, expand
from flightctl.core.timetable_rows import minute

MAX_DAYS: Final = 366
OPEN_DAYS: Final = 30
"""Days that are imported at least of a file with a row that is valid until further notice."""
LISTED_NEW: Final = 10_000
"""New flights told one by one; a whole network has millions."""
_ONE_DAY: Final = timedelta(days=1)

Progress = Callable[[int, int], None]

_OF_DAY: Final = select(
    flights.c.flight_id,
    flights.c.carrier,
    flights.c.flight_number,
    flights.c.source,
    flights.c.destination,
    flights.c.departure_time,
    flights.c.arrival_time,
    flights.c.departure_date,
    flights.c.total_seats,
    flights.c.available_seats,
    flights.c.price,
    flights.c.status,
).where(
    flights.c.departure_time.between(bindparam("earliest"), bindparam("latest")),
    flights.c.departure_date == bindparam("day"),
)
_BOOKED: Final = (
    select(
        booking_flights.c.flight_id,
        func.count().label("bookings"),
        func.sum(bookings.c.seats).label("seats"),
    )
    .join(bookings, bookings.c.booking_id == booking_flights.c.booking_id)
    .where(
        booking_flights.c.flight_id.in_(bindparam("ids", expanding=True)),
        bookings.c.status.in_((BookingStatus.PENDING.value, BookingStatus.CONFIRMED.value)),
    )
    .group_by(booking_flights.c.flight_id)
)


@dataclass(slots=True)
class Diff:
    """``flights`` of the file in the range; of these ``unchanged`` are loaded alike or have departed, ``cancelled`` are
    cancelled here; ``new`` are not loaded. ``differences`` lists new ones up to LISTED_NEW."""

    flights: int = 0
    unchanged: int = 0
    cancelled: int = 0
    new: int = 0
    differences: list[FlightDifference] = field(default_factory=list)

    def add(self, other: "Diff") -> None:
        self.flights += other.flights
        self.unchanged += other.unchanged
        self.cancelled += other.cancelled
        self.new += other.new
        self.differences += other.differences


def import_range(runtime: Runtime, source: Schedule, request: ImportRequest) -> tuple[date, int]:
    """First day and number of days: those asked for, else those that the file covers, from today on.

    A file that lies wholly in the past is taken from its own first day. Raises ValidationError.
    """
    if request.days is not None and not 1 <= request.days <= MAX_DAYS:
        raise ValidationError(f"--days goes from 1 to {MAX_DAYS}, not {request.days}")
    froms = [row.valid_from for row in source.rows]
    ends = [row.valid_to for row in source.rows if row.valid_to is not None]
    is_open = len(ends) < len(source.rows)
    if request.start is not None:
        first = resolve_day(request.start, lambda: runtime.database.read(schedule.database_now), None, "--start")
    else:
        today = runtime.database.read(schedule.database_now).date()
        begins = min((day for day in froms if day is not None), default=today) if None not in froms else today
        first = begins if not is_open and max(ends) < today else max(today, begins)
    if request.days is not None:
        return first, request.days
    last = max(ends, default=first)
    if is_open:
        last = max(last, first + timedelta(days=OPEN_DAYS - 1))
    return first, max(1, min(MAX_DAYS, (last - first).days + 1))


def compare(
    runtime: Runtime,
    source: Schedule,
    request: ImportRequest,
    first: date,
    days: int,
    progress: Progress | None = None,
) -> Diff:
    """Compare the file with what is loaded, a day at a time."""
    diff = Diff()
    scope = _Scope(source, first, first + timedelta(days=days - 1))
    now = runtime.database.read(schedule.database_now)
    by_day = groupby(expand(source, first, days), key=lambda flight: flight.departure_date)
    ahead = next(by_day, None)
    for number in range(days):
        day = first + timedelta(days=number)
        wanted: list[ScheduledFlight] = []
        if ahead is not None and ahead[0] == day:
            wanted = list(ahead[1])
            ahead = next(by_day, None)
        compare_day = _Day(request, scope, now, wanted, LISTED_NEW - diff.new)
        found = runtime.database.read(lambda tx, day=day, work=compare_day: work.compare(tx, day))  # type: ignore[misc]
        diff.add(found)
        if progress is not None:
            progress(number + 1, days)
    return diff


class _Scope:
    """Which loaded flights the file speaks of: those of its airlines, while its rows for the airline are valid."""

    def __init__(self, source: Schedule, first: date, last: date) -> None:
        self._days: dict[str, tuple[date, date]] = {}
        for row in source.rows:
            start, end = row.valid_from or first, row.valid_to or last
            known = self._days.get(row.carrier)
            self._days[row.carrier] = (min(start, known[0]), max(end, known[1])) if known else (start, end)
        self._rejected = {row.flight: row.line for row in source.rejected}

    def covers(self, row: Any) -> bool:
        days = self._days.get(row.carrier or "")
        return days is not None and days[0] <= row.departure_date <= days[1]

    def rejected_line(self, row: Any) -> int | None:
        """The line of a rejected record that may be about the flight; such a flight is not known to be gone."""
        return self._rejected.get(f"{row.carrier}{row.flight_number}", self._rejected.get(""))


class _Day:
    """One day of the comparison; ``listed`` new flights of it are told one by one."""

    def __init__(
        self, request: ImportRequest, scope: _Scope, now: datetime, wanted: Sequence[ScheduledFlight], listed: int
    ) -> None:
        self._request, self._scope, self._now, self._wanted, self._listed = request, scope, now, wanted, listed

    def compare(self, tx: Transaction, day: date) -> Diff:
        start = datetime.combine(day, datetime.min.time(), self._now.tzinfo)
        window = {"earliest": start - MAX_OFFSET, "latest": start + _ONE_DAY + MAX_OFFSET, "day": day}
        loaded = {
            (row.carrier, row.flight_number, row.source, row.departure_date): row for row in tx.execute(_OF_DAY, window)
        }
        counts = _Counts(tx, [row.flight_id for row in loaded.values() if row.available_seats < row.total_seats])
        ids = {row.flight_id for row in loaded.values()}
        found = Diff(flights=len(self._wanted))
        for flight in self._wanted:
            row = loaded.pop((flight.carrier, flight.flight_number, flight.source, flight.departure_date), None)
            if row is None:
                self._new(found, flight, ids)
            else:
                self._known(found, flight, row, counts)
        for row in loaded.values():
            if row.status == FlightStatus.ACTIVE.value and row.departure_time > self._now and self._scope.covers(row):
                self._gone(found, row, counts)
        return found

    def _new(self, found: Diff, flight: ScheduledFlight, ids: set[str]) -> None:
        found.new += 1
        if found.new <= self._listed:
            # As seeding does where another origin's leg of the number has the short id.
            flight_id = f"{flight.flight_id}-{flight.source}" if flight.flight_id in ids else flight.flight_id
            found.differences.append(_difference(DifferenceKind.NEW, flight, flight_id, ImportOutcome.ADD))

    def _known(self, found: Diff, flight: ScheduledFlight, row: Any, counts: "_Counts") -> None:
        if row.departure_time <= self._now:
            found.unchanged += 1
            return
        cancelled = row.status == FlightStatus.CANCELLED.value
        if cancelled and not self._request.reinstate:
            found.cancelled += 1
            return
        changes = tuple(field_changes(row, flight))
        if not changes and not cancelled:
            found.unchanged += 1
            return
        outcome, reason = _plan_change(row, flight, cancelled)
        if cancelled:
            changes = (FieldChange("status", FlightStatus.CANCELLED.value, FlightStatus.ACTIVE.value), *changes)
        found.differences.append(
            _difference(
                DifferenceKind.CHANGED,
                flight,
                row.flight_id,
                outcome,
                changes=changes,
                reason=reason,
                booked=counts.of(row),
            )
        )

    def _gone(self, found: Diff, row: Any, counts: "_Counts") -> None:
        if self._request.keep_gone:
            return
        line = self._scope.rejected_line(row)
        outcome, reason = ImportOutcome.CANCEL, None
        if line is not None:
            outcome, reason = ImportOutcome.LEAVE, f"line {line}, which was rejected, may be about it"
        elif row.available_seats < row.total_seats and not self._request.cancel_booked:
            outcome, reason = ImportOutcome.LEAVE, sold_reason(row.total_seats - row.available_seats)
        found.differences.append(
            _difference(DifferenceKind.GONE, row, row.flight_id, outcome, reason=reason, booked=counts.of(row))
        )


class _Counts:
    """Bookings and their seats, of flights that have any."""

    def __init__(self, tx: Transaction, flight_ids: Sequence[str]) -> None:
        self._of: dict[str, tuple[int, int]] = {}
        for start in range(0, len(flight_ids), 1000):
            for row in tx.execute(_BOOKED, {"ids": flight_ids[start : start + 1000]}):
                self._of[row.flight_id] = (int(row.bookings), int(row.seats))

    def of(self, row: Any) -> tuple[int, int]:
        return self._of.get(row.flight_id, (0, 0))


def sold_reason(taken: int) -> str:
    return f"{taken} seats are sold or held; --cancel-booked cancels it with its bookings"


def field_changes(row: Any, flight: ScheduledFlight) -> Iterator[FieldChange]:
    """What the file has otherwise than the loaded row; local times by the minute."""
    if row.destination != flight.destination:
        yield FieldChange("destination", row.destination, flight.destination)
        return  # other times and prices follow from that
    for name, airport, old, new in (
        ("departureTime", flight.source, row.departure_time, flight.departure_time),
        ("arrivalTime", flight.destination, row.arrival_time, flight.arrival_time),
    ):
        before, after = minute(to_local(old, airport)), minute(to_local(new, airport))
        if before != after:
            yield FieldChange(name, before.isoformat(timespec="minutes"), after.isoformat(timespec="minutes"))
    if flight.names_seats and row.total_seats != flight.seats:
        yield FieldChange("totalSeats", str(row.total_seats), str(flight.seats))
    if flight.names_price and row.price != flight.price:
        yield FieldChange("price", f"{row.price:.2f}", f"{flight.price:.2f}")


def _plan_change(row: Any, flight: ScheduledFlight, cancelled: bool) -> tuple[ImportOutcome, str | None]:
    taken = row.total_seats - row.available_seats
    if row.destination != flight.destination:
        return ImportOutcome.LEAVE, (
            f"the file flies it to {flight.destination}; a flight to another airport is another flight"
        )
    if flight.names_seats and flight.seats < taken:
        return ImportOutcome.LEAVE, f"{taken} seats are sold or held; it cannot shrink to {flight.seats}"
    if cancelled and taken:
        return ImportOutcome.LEAVE, f"{taken} seats of bookings that its cancellation still has to end"
    return (ImportOutcome.REINSTATE if cancelled else ImportOutcome.UPDATE), None


def _difference(
    kind: DifferenceKind,
    flight: Any,
    flight_id: str,
    outcome: ImportOutcome,
    *,
    changes: tuple[FieldChange, ...] = (),
    reason: str | None = None,
    booked: tuple[int, int] = (0, 0),
) -> FlightDifference:
    return FlightDifference(
        kind,
        flight_id,
        flight.source,
        flight.destination,
        flight.departure_time,
        flight.arrival_time,
        outcome,
        *booked,
        changes,
        reason,
    )
