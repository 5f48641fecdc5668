"""The database's vitals for whoever asks often: one look serves all for some seconds, and nobody waits long for it."""

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock, Thread
from typing import Final

from sqlalchemy import func, or_, select

from flightctl.core import vitals
from flightctl.core.database import Transaction
from flightctl.core.errors import FlightctlError
from flightctl.core.runtime import Runtime
from flightctl.core.schema import booking_events

FRESH_SECONDS: Final = 4.0
"""Readers within this time share one look."""
WAIT_SECONDS: Final = 2.0
"""How long a reader waits for a database that is slow: a scrape has ten."""
KEEP_SECONDS: Final = 30.0
"""Older figures are withheld: a gap in a graph is truer than a line that stands still."""
SETTLE_SECONDS: Final = 15.0
"""A transaction that got its event's id commits within this time, or never."""
RANGE: Final = 200_000
"""Ids of events that one look goes over; a daemon that has fallen behind catches up in several."""


@dataclass(frozen=True, slots=True)
class EventCount:
    """Bookings made and ended, whoever did it, since the first look: counted in ``booking_events`` along its key.

    ``settled`` are the events up to the id ``after``; behind it transactions may still commit, so that stretch is
    counted anew each time. The totals never go down.
    """

    after: int
    marks: tuple[tuple[float, int], ...] = ()
    """When which id was the highest."""
    settled: Mapping[str, int] = field(default_factory=dict)
    totals: Mapping[str, int] = field(default_factory=dict)
    """Events by the status they led to; PENDING are bookings made."""


def count_events(tx: Transaction, before: EventCount | None, now: float) -> EventCount:
    """The count brought up to date; ``now`` is seconds of any clock that does not go back."""
    highest: int = tx.execute(select(func.coalesce(func.max(booking_events.c.id), 0))).scalar_one()
    if before is None:
        return EventCount(highest)
    if highest < before.after:  # a reset emptied the table, and its numbers begin anew
        return EventCount(highest, (), before.totals, before.totals)
    old = [mark for mark in before.marks if now - mark[0] >= SETTLE_SECONDS]
    settled_to = max([before.after, *(identifier for _, identifier in old)])
    end = min(highest, before.after + RANGE)
    settled_to = min(settled_to, end)
    settled = Counter(before.settled) + _between(tx, before.after, settled_to)
    young = tuple(mark for mark in before.marks if mark not in old)
    return EventCount(
        settled_to, (*young, (now, highest)), dict(settled), dict(settled + _between(tx, settled_to, end))
    )


def _between(tx: Transaction, after: int, to: int) -> Counter[str]:
    if after >= to:
        return Counter()
    events = booking_events.c
    query = (
        select(events.to_status, func.count().label("events"))
        .where(
            events.id > after,
            events.id <= to,
            or_(events.from_status.is_(None), events.from_status != events.to_status),
        )
        .group_by(events.to_status)
    )
    return Counter({row.to_status: row.events for row in tx.execute(query)})


@dataclass(frozen=True, slots=True)
class Look:
    vitals: vitals.Vitals
    events: EventCount
    latency: float
    """Seconds that the database took for it."""
    taken_at: float
    """By the monotonic clock."""


class VitalsWatch:
    """Looks when asked, in a thread of its own: a database that hangs keeps no reader."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._lock = Lock()
        self._look: Look | None = None
        self._thread: Thread | None = None
        self.error = ""
        """Why the last try failed; empty when it did not."""

    def latest(self) -> Look | None:
        """The newest look; None when the database has not answered for KEEP_SECONDS."""
        with self._lock:
            if self._younger_than(FRESH_SECONDS):
                return self._look
            if self._thread is None or not self._thread.is_alive():
                self._thread = Thread(target=self._refresh, daemon=True)
                self._thread.start()
            thread = self._thread
        thread.join(WAIT_SECONDS)
        return self._look if self._younger_than(KEEP_SECONDS) else None

    def _younger_than(self, seconds: float) -> bool:
        return self._look is not None and time.monotonic() - self._look.taken_at < seconds

    def _refresh(self) -> None:
        started = time.monotonic()
        before = self._look.events if self._look else None

        def work(tx: Transaction) -> tuple[vitals.Vitals, EventCount]:
            return vitals.look(tx), count_events(tx, before, started)

        try:
            found, events = self._runtime.database.read(work)
        except FlightctlError as error:
            self.error = error.message
            return
        now = time.monotonic()
        self._look = Look(found, events, now - started, now)
        self.error = ""
