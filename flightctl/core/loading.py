"""The timetable of one question, from the database.

Flights leaving the origin on its local date are always read as rows, with the schedule's version and the clock. What
can follow them comes from packed days where they are wanted and there (``packed_days``), else from rows, too: no
self-join.
"""

import time
from dataclasses import dataclass
from datetime import date
from typing import Final

from sqlalchemy import func, select

from flightctl.core.cache import ROUTES_SECONDS, SeatCount
from flightctl.core.database import Transaction
from flightctl.core.loading_sources import (
    FIRSTS,
    FlightSource,
    NotPackedError,
    PackedSource,
    Question,
    RowSource,
)
from flightctl.core.prepared import Step
from flightctl.core.routing import Row, Timetable, build, times_by_airport, to_microseconds
from flightctl.core.schedule import VERSION
from flightctl.core.schema import packed_days
from flightctl.core.sql_functions import utc_now

_STATE: Final = select(
    VERSION.scalar_subquery().label("version"),
    utc_now().label("now"),
    select(func.count(packed_days.c.packed_at)).scalar_subquery().label("packed_days"),
)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A timetable, what the database knew with it, and the flights that it took."""

    timetable: Timetable
    counts: dict[str, SeatCount]
    """At that moment, of its flights that were read as rows: of all, unless ``packed``."""
    version: int
    """The schedule's, read before the flights: they may be newer than it says, never older."""
    now: int
    """Microseconds since the epoch."""
    read_at: float
    """By this process's monotonic clock, before the reading began."""
    rows: int
    packed_for: float | None
    """Seconds since the oldest of the days was packed that all but the first legs come from; None if they are rows."""

    @property
    def packed(self) -> bool:
        return self.packed_for is not None

    @property
    def believed_seconds(self) -> int:
        """So long others may be told of it: an hour after the flights were read, packed or not."""
        return min(ROUTES_SECONDS, max(1, round(ROUTES_SECONDS - (self.packed_for or 0))))  # clocks may differ


def load(
    tx: Transaction,
    source: str,
    destination: str,
    day: date,
    *,
    min_connection: int,
    max_connection: int,
    packed: bool = False,
) -> Loaded:
    """The timetable of one question, with the seats of what was read as rows; ``packed``: from packed days if they
    are there. Connection times are microseconds."""
    read_at = time.monotonic()
    leaving = {"source": source, "day": day}
    # The version before the flights, all in one round trip.
    [state], groups = tx.fetch([Step(_STATE, {}), Step(FIRSTS, leaving)])
    rows = RowSource(tx)
    question = Question(source, destination, rows.take(groups), min_connection, max_connection)
    timetable, days = None, PackedSource(tx)
    if packed and state.packed_days:
        try:
            timetable = _answer(question, days)
        except NotPackedError:
            days = PackedSource(tx)
    if timetable is None:
        timetable = _answer(question, rows)
    return Loaded(
        timetable,
        rows.counts_of(timetable.ids),
        int(state.version or 0),
        to_microseconds(state.now),
        read_at,
        rows.number + days.number,
        None if days.packed_at is None else (state.now - days.packed_at).total_seconds(),
    )


def _answer(question: Question, store: FlightSource) -> Timetable:
    firsts = question.firsts
    ends = {question.source, question.destination}
    reached = times_by_airport((row[2], row[4]) for row in firsts if row[2] not in ends)
    lasts: list[Row] = []
    middles: list[Row] = []
    if reached:
        onward = store.onward(question, *question.follows(reached))
        if onward:
            middles = store.middles(question, reached, onward)
            lasts = store.lasts({row[2] for row in middles} | reached.keys())
    return build(
        question.source,
        question.destination,
        firsts=firsts,
        middles=middles,
        lasts=lasts,
        min_connection=question.shortest,
        max_connection=question.longest,
    )
