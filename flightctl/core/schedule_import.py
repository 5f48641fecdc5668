"""``schedule import``: a schedule file made true, without losing a booking.

Changed flights go through ``flights.update`` one by one, with its rules. Flights that are gone are cancelled where no
seat is taken, by an UPDATE that tests just that; others only when asked to, by ``flights.cancel``. A killed import is
finished by running it again.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import groupby
from pathlib import Path
from typing import Final

from sqlalchemy import bindparam, select, update

from flightctl.core import flights as flight_cases
from flightctl.core import inventory, schedule
from flightctl.core.database import Transaction
from flightctl.core.errors import InvalidFlightError, InvalidStateError, ValidationError
from flightctl.core.model.flights import FlightChange
from flightctl.core.model.schedules import DifferenceKind, FlightDifference, ImportOutcome, ImportRequest, ImportResult
from flightctl.core.model.states import FlightStatus
from flightctl.core.runtime import Runtime
from flightctl.core.schedule_diff import MAX_DAYS, Diff, compare, import_range
from flightctl.core.schema import flights
from flightctl.core.seeding import load_flights
from flightctl.core.sql_functions import utc_now
from flightctl.core.timetable import EARLIEST, LATEST, Schedule, expand, read_schedule

_CHUNK: Final = 100
"""Flights cancelled in one transaction, under their locks."""

_UNSOLD: Final = (
    select(flights.c.flight_id)
    .where(
        flights.c.flight_id.in_(bindparam("ids", expanding=True)),
        flights.c.status == FlightStatus.ACTIVE.value,
        flights.c.departure_time > utc_now(),
        flights.c.available_seats == flights.c.total_seats,
    )
    .order_by(flights.c.flight_id)
    .with_for_update()
)
# No seat taken is no open booking (the invariant), and the row's lock keeps buyers out until the commit.
_CANCEL_UNSOLD: Final = (
    update(flights)
    .where(
        flights.c.flight_id.in_(bindparam("ids", expanding=True)),
        flights.c.status == FlightStatus.ACTIVE.value,
        flights.c.available_seats == flights.c.total_seats,
    )
    .values(status=FlightStatus.CANCELLED.value, seat_version=flights.c.seat_version + 1)
)
# Where a killed cancellation still has bookings to end, their seats are still taken.
_REINSTATE: Final = (
    update(flights)
    .where(
        flights.c.flight_id == bindparam("id"),
        flights.c.status == FlightStatus.CANCELLED.value,
        flights.c.available_seats == flights.c.total_seats,
    )
    .values(status=FlightStatus.ACTIVE.value, seat_version=flights.c.seat_version + 1)
)

Progress = Callable[[int, int], None]
_DONE: Final = {
    ImportOutcome.ADD: ImportOutcome.ADDED,
    ImportOutcome.UPDATE: ImportOutcome.UPDATED,
    ImportOutcome.REINSTATE: ImportOutcome.REINSTATED,
    ImportOutcome.CANCEL: ImportOutcome.CANCELLED,
    ImportOutcome.LEAVE: ImportOutcome.LEFT,
}


class Import:
    """A file that was read and compared, and can then be applied.

    Raises ValidationError for an unusable file or range, or when no row is good.
    """

    def __init__(self, runtime: Runtime, request: ImportRequest, progress: Progress | None = None) -> None:
        self._runtime, self._request = runtime, request
        self._source = self._read(Path(request.file))
        self._first, self._days = import_range(runtime, self._source, request)
        if self._first < EARLIEST or self._days > (LATEST - self._first).days:
            raise ValidationError(f"{self._days} days from {self._first} are out of range")
        self._diff = compare(runtime, self._source, request, self._first, self._days, progress)

    def _read(self, path: Path) -> Schedule:
        source = read_schedule(path)
        if not source.rows:
            rejected = source.rejected
            raise ValidationError(
                f"no row of {path} is good ({len(rejected)} rejected)",
                hint="; ".join(f"line {row.line}: {row.reason}" for row in rejected[:3]) or "The file has no rows.",
                details={"skipped": len(rejected)},
            )
        return source

    def preview(self) -> ImportResult:
        """What ``apply`` would do."""
        return self._result(self._diff, applied=False)

    def apply(self, progress: Progress | None = None) -> ImportResult:
        """Do it, in many transactions; a difference that cannot be carried out any more is left, with the reason."""
        planned = self._diff.differences
        rest = [number for number, one in enumerate(planned) if one.kind is not DifferenceKind.NEW]
        steps = len(rest) + self._diff.new
        done = {
            number: replace(one, outcome=_DONE[one.outcome])
            for number, one in enumerate(planned)
            if one.kind is DifferenceKind.NEW or one.outcome is ImportOutcome.LEAVE
        }
        for chunk in _chunks([number for number in rest if number not in done], planned):
            results = self._apply_all([planned[number] for number in chunk])
            done.update(zip(chunk, results, strict=True))
            if progress is not None:
                progress(sum(number in done for number in rest), steps)
        if self._diff.new:
            self._add(len(rest), steps, progress)
        return self._result(
            replace(self._diff, differences=[done[number] for number in range(len(planned))]), applied=True
        )

    def _apply_all(self, chunk: Sequence[FlightDifference]) -> list[FlightDifference]:
        return self._cancel_unsold(chunk) if _cancels_unsold(chunk[0]) else [self._apply_one(one) for one in chunk]

    def _add(self, before: int, steps: int, progress: Progress | None) -> None:
        scheduled = expand(self._source, self._first, self._days)

        def told(done: int, total: int) -> None:
            if progress is not None:
                progress(before + (steps - before) * done // max(1, total), steps)

        load_flights(self._runtime, scheduled, self._diff.flights, told)

    def _apply_one(self, one: FlightDifference) -> FlightDifference:
        change, flies_again = None, ""
        try:
            if one.outcome is ImportOutcome.REINSTATE:
                self._reinstate(one)
                flies_again = "it flies again, but as it was: "
                change = self._update(one)
            elif one.outcome is ImportOutcome.UPDATE:
                change = self._update(one)
            elif one.outcome is ImportOutcome.CANCEL:
                change = flight_cases.cancel(self._runtime, one.flight_id, reason=self._reason)
        except (InvalidStateError, InvalidFlightError, ValidationError) as error:
            return replace(one, outcome=ImportOutcome.LEFT, reason=f"{flies_again}{error.message}")
        return replace(one, outcome=_DONE[one.outcome], reason=None if change is None else _to_do_after(change))

    @property
    def _reason(self) -> str:
        return f"not in the schedule {Path(self._request.file).name[:60]}"

    def _update(self, one: FlightDifference) -> FlightChange | None:
        new = {change.name: change.new for change in one.changes if change.name != "status"}
        if not new:
            return None
        return flight_cases.update(
            self._runtime,
            one.flight_id,
            departure=new.get("departureTime"),
            arrival=new.get("arrivalTime"),
            price=new.get("price"),
            seats=int(new["totalSeats"]) if "totalSeats" in new else None,
        )

    def _reinstate(self, one: FlightDifference) -> None:
        def work(tx: Transaction) -> tuple[int, int]:
            version = schedule.raise_version(tx, [one.flight_id])
            return tx.change(_REINSTATE, {"id": one.flight_id}), version

        changed, version = inventory.change_seats(self._runtime, [one.flight_id], work)
        self._runtime.cache.publish_schedule_version(version)
        if not changed:
            raise InvalidStateError("it is not cancelled any more, or its cancellation has not ended")

    def _cancel_unsold(self, chunk: Sequence[FlightDifference]) -> list[FlightDifference]:
        def work(tx: Transaction) -> tuple[set[str], int]:
            version = schedule.raise_version(tx, flight_ids)
            unsold = list(tx.execute(_UNSOLD, {"ids": [one.flight_id for one in chunk]}).scalars())
            if unsold:
                tx.change(_CANCEL_UNSOLD, {"ids": unsold})
            return set(unsold), version

        flight_ids = [one.flight_id for one in chunk]
        cancelled, version = inventory.change_seats(self._runtime, flight_ids, work)
        self._runtime.cache.publish_schedule_version(version)
        return [
            replace(one, outcome=ImportOutcome.CANCELLED)
            if one.flight_id in cancelled
            else replace(one, outcome=ImportOutcome.LEFT, reason="it was sold, cancelled or has departed meanwhile")
            for one in chunk
        ]

    def _result(self, diff: Diff, *, applied: bool) -> ImportResult:
        source = self._source
        notes = list(source.notes)
        if self._request.days is None and self._days == MAX_DAYS:
            notes.append(f"only {MAX_DAYS} days were looked at, from {self._first}; --start names a later first day")
        return ImportResult(
            file=self._request.file,
            first_day=self._first,
            last_day=self._first + timedelta(days=self._days - 1),
            applied=applied,
            rows=len(source.rows),
            rejected=tuple((row.line, row.reason) for row in source.rejected),
            codeshares=source.codeshares,
            notes=tuple(notes),
            flights=diff.flights,
            unchanged=diff.unchanged,
            cancelled=diff.cancelled,
            new=diff.new,
            differences=tuple(diff.differences),
        )


def _to_do_after(change: FlightChange) -> str | None:
    """What the change of a flight leaves to be done."""
    if change.failed:
        return f"bookings left to the sweep: {', '.join(change.failed)}"
    broken = [one.booking_id for one in change.affected if one.disrupted]
    return f"connections that it broke wait to be moved: {', '.join(broken)}" if broken else None


def _chunks(numbers: Sequence[int], planned: Sequence[FlightDifference]) -> Iterator[list[int]]:
    """The numbers in their order, cut into chunks that are cancelled unsold, or not, as a whole."""
    for _, alike in groupby(numbers, key=lambda number: _cancels_unsold(planned[number])):
        some = list(alike)
        for start in range(0, len(some), _CHUNK):
            yield some[start : start + _CHUNK]


def _cancels_unsold(one: FlightDifference) -> bool:
    return one.outcome is ImportOutcome.CANCEL and not one.bookings
