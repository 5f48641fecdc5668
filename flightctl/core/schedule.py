"""Rows of the schedule: its version, and flights as searches read them.

Every change of the schedule first raises ``schedule_state.version`` in its own transaction. The row's lock queues such
changes one after the other, and the version tells cached routes from before.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import repeat
from typing import Any, Final

from sqlalchemy import Select, bindparam, case, func, select, update

from flightctl.core.cache import SeatCount
from flightctl.core.database import Transaction
from flightctl.core.errors import InternalError
from flightctl.core.model.states import FlightStatus
from flightctl.core.prepared import Step
from flightctl.core.routing import Row, Timetable, build, to_instant, to_microseconds
from flightctl.core.schema import flights, schedule_state
from flightctl.core.sql_functions import gathered, hundredths, microseconds, utc_now
from flightctl.core.timetable_row import MAX_FLIGHT_TIME

_LONGEST: Final = MAX_FLIGHT_TIME // timedelta(microseconds=1)
_VERSION: Final = select(schedule_state.c.version)
_LOCKED_VERSION: Final = _VERSION.with_for_update()
_NOW: Final = select(utc_now())
_VERSION_AND_NOW: Final = select(_VERSION.scalar_subquery().label("version"), utc_now())
# All flights that leave one airport in one row, as lines of text: for every row a driver in Python takes its time, with
# eight columns, datetimes and decimals several times as long. A thousand flights: 0.7 ms of this process, else 3.6.
_COLUMNS: Final = (
    flights.c.flight_id,
    flights.c.destination,
    microseconds(flights.c.departure_time),
    microseconds(flights.c.arrival_time),
    hundredths(flights.c.price),
    flights.c.available_seats,
    flights.c.seat_version,
)
_ACTIVE: Final = (
    select(flights.c.source, func.count().label("flights"), gathered(*_COLUMNS).label("lines"))
    .where(flights.c.status == FlightStatus.ACTIVE.value)
    .group_by(flights.c.source)
)
_FIRSTS: Final = _ACTIVE.where(flights.c.source == bindparam("source"), flights.c.departure_date == bindparam("day"))
_WITHIN: Final = flights.c.departure_time.between(bindparam("earliest"), bindparam("latest"))
_LASTS: Final = _ACTIVE.where(
    flights.c.destination == bindparam("destination"), flights.c.source != bindparam("source"), _WITHIN
)
_MIDDLES: Final = _ACTIVE.where(
    flights.c.source.in_(bindparam("sources", expanding=True)),
    flights.c.destination.in_(bindparam("destinations", expanding=True)),
    _WITHIN,
)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A timetable, what the database knew with it, and the rows that it took."""

    timetable: Timetable
    counts: dict[str, SeatCount]
    """Of its flights, at that moment."""
    version: int
    """The schedule's, read before the flights: they may be newer than it says, never older."""
    now: int
    """Microseconds since the epoch."""
    read_at: float
    """By this process's monotonic clock, before the reading began."""
    rows: int


def database_now(tx: Transaction) -> datetime:
    now: datetime = tx.execute(_NOW).scalar_one()
    return now


def version(tx: Transaction) -> int:
    """The schedule's version: rises with every change, and starts at the moment, so that it never goes back."""
    return int(tx.execute(_VERSION).scalar() or 0)


def lock_version(tx: Transaction) -> int:
    """The version, which stays as it is until the transaction ends or raises it."""
    return int(tx.execute(_LOCKED_VERSION).scalar() or 0)


def raise_version(tx: Transaction) -> int:
    """Raise the version and queue behind other changes of the schedule; returns the new one."""
    now = to_microseconds(database_now(tx))
    newer = case((schedule_state.c.version >= now, schedule_state.c.version + 1), else_=now)
    tx.change(update(schedule_state).values(version=newer, updated_at=utc_now()))
    return version(tx)


def load(
    tx: Transaction, source: str, destination: str, day: date, *, min_connection: int, max_connection: int
) -> Loaded:
    """The timetable of one question from the database, with the seats of its flights.

    Connection times are microseconds. Reads the flights leaving ``source`` on the local date, those that enter
    ``destination`` within the time that two connections and a flight may take, and of what lies between only what
    leaves where the first arrive and arrives where the last leave: three range scans on indexes, no self-join.
    """
    read_at = time.monotonic()
    leaving = {"source": source, "day": day}
    # The version before the flights, all in one round trip.
    [[at, now]], groups = tx.fetch([Step(_VERSION_AND_NOW, {}), Step(_FIRSTS, leaving)])
    reader = _Reader(tx)
    firsts = reader.take(groups)
    ends = {source, destination}
    reached = {row[2] for row in firsts} - ends
    lasts: list[Row] = []
    middles: list[Row] = []
    if reached:
        arrivals = [row[4] for row in firsts if row[2] in reached]
        earliest, latest = min(arrivals) + min_connection, max(arrivals) + max_connection
        window = _window(earliest, latest + _LONGEST + max_connection)
        lasts = reader.read(_LASTS, source=source, destination=destination, **window)
        left = {row[1] for row in lasts} - ends
        if left:
            airports = {"sources": sorted(reached), "destinations": sorted(left)}
            middles = reader.read(_MIDDLES, **airports, **_window(earliest, latest))
    timetable = build(
        source,
        destination,
        firsts=firsts,
        middles=middles,
        lasts=lasts,
        min_connection=min_connection,
        max_connection=max_connection,
    )
    return Loaded(timetable, reader.counts_of(timetable.ids), int(at or 0), to_microseconds(now), read_at, reader.rows)


class _Reader:
    """Reads flights, and keeps the text of their counts until it is known which of them matter."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self._counts: dict[str, tuple[str, str]] = {}

    @property
    def rows(self) -> int:
        return len(self._counts)

    def read(self, statement: Select[Any], **parameters: Any) -> list[Row]:
        return self.take(self._tx.execute(statement, parameters))

    def take(self, groups: Iterable[Sequence[Any]]) -> list[Row]:
        found: list[Row] = []
        for source, count, lines in groups:
            texts = lines.split("\n")
            if len(texts) != count * len(_COLUMNS):
                raise InternalError(f"the database told of the flights from {source} in part only")
            ids, destinations, departures, arrivals, prices, seats, versions = (
                texts[column :: len(_COLUMNS)] for column in range(len(_COLUMNS))
            )
            self._counts.update(zip(ids, zip(seats, versions, strict=True), strict=True))
            numbers = (map(int, column) for column in (departures, arrivals, prices))
            found += zip(ids, repeat(source), destinations, *numbers, strict=False)
        return found

    def counts_of(self, flight_ids: Iterable[str]) -> dict[str, SeatCount]:
        texts = self._counts
        return {name: SeatCount(int(texts[name][0]), int(texts[name][1])) for name in flight_ids}


def _window(earliest: int, latest: int) -> dict[str, datetime]:
    return {"earliest": to_instant(earliest), "latest": to_instant(latest)}
