"""``schedule export``: the flights that are loaded, as a schedule file that imports again without a difference."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Final

from sqlalchemy import bindparam, func, select

from flightctl.core import inventory, schedule
from flightctl.core.errors import ValidationError
from flightctl.core.model.flights import Flight
from flightctl.core.model.schedules import ExportedRow, ExportRequest, ExportResult
from flightctl.core.model.states import FlightStatus
from flightctl.core.runtime import Runtime
from flightctl.core.schema import flights
from flightctl.core.search import resolve_day
from flightctl.core.ssim_fields import CENTURY
from flightctl.core.timetable import EARLIEST, LATEST
from flightctl.core.timetable_row import ScheduleRow, clean_carrier
from flightctl.core.timetable_rows import Rows
from flightctl.core.timetable_write import to_csv, to_ssim

MAX_DAYS: Final = 3660
_ONE_DAY: Final = timedelta(days=1)
_WINDOW: Final = (
    select(flights)
    .where(
        flights.c.departure_time >= bindparam("start"),
        flights.c.departure_time < bindparam("end"),
        flights.c.departure_date.between(bindparam("first"), bindparam("last")),
        flights.c.status == FlightStatus.ACTIVE.value,
    )
    .order_by(flights.c.departure_time)
)
_LAST: Final = select(func.max(flights.c.departure_time)).where(flights.c.status == FlightStatus.ACTIVE.value)


def export(runtime: Runtime, request: ExportRequest) -> ExportResult:
    """Flights that are ACTIVE and leave on the local dates asked for. Raises ValidationError."""
    first, last = _range(runtime, request)
    carrier = None if request.carrier is None else _carrier(request.carrier)
    rows = Rows(with_offsets=request.ssim, years=range(CENTURY, CENTURY + 100) if request.ssim else None)
    count = 0
    for flight in _flights(runtime, first, last):
        if carrier is None or flight.carrier == carrier:
            rows.add(flight)
            count += 1
    pairs = list(rows.rows())
    if request.ssim:
        created = runtime.database.read(schedule.database_now).date()
        text = to_ssim(pairs, created=created)
    else:
        text = to_csv(row for row, _ in pairs)
    return ExportResult(text, tuple(_exported(row) for row, _ in pairs), count, tuple(rows.left_out))


def _range(runtime: Runtime, request: ExportRequest) -> tuple[date, date]:
    first = resolve_day(request.first, lambda: runtime.database.read(schedule.database_now), None, "--from")
    if request.days is None:
        latest: datetime | None = runtime.database.read(lambda tx: tx.execute(_LAST).scalar())
        return first, first if latest is None else max(first, latest.date() + _ONE_DAY)
    if not 1 <= request.days <= MAX_DAYS:
        raise ValidationError(f"--days goes from 1 to {MAX_DAYS}, not {request.days}")
    if not EARLIEST <= first <= LATEST - timedelta(days=request.days):
        raise ValidationError(f"{request.days} days from {first} are out of range")
    return first, first + timedelta(days=request.days - 1)


def _carrier(text: str) -> str:
    try:
        return clean_carrier(text)
    except ValueError as bad:
        raise ValidationError(f"--carrier: {bad}") from None


def _flights(runtime: Runtime, first: date, last: date) -> Iterator[Flight]:
    """A day of UTC at a time: a year of a network would not fit the memory. Local dates reach over both ends."""
    day = first - _ONE_DAY
    while day <= last + _ONE_DAY:
        start = datetime.combine(day, datetime.min.time(), UTC)
        window = {"start": start, "end": start + _ONE_DAY, "first": first, "last": last}
        rows = runtime.database.read(lambda tx, window=window: tx.execute(_WINDOW, window).all())  # type: ignore[misc]
        yield from map(inventory.to_flight, rows)
        day += _ONE_DAY


def _exported(row: ScheduleRow) -> ExportedRow:
    assert row.valid_from is not None
    assert row.valid_to is not None
    return ExportedRow(
        row.carrier,
        row.flight_number,
        row.origin,
        row.destination,
        f"{row.departure_local:%H:%M}",
        f"{row.arrival_local:%H:%M}",
        row.arrival_day_offset,
        "".join(map(str, sorted(row.days))),
        row.valid_from,
        row.valid_to,
        row.seats,
        row.price,
    )
