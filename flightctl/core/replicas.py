"""Reads that scale: searches and lists from a replica that is up to date enough, and from the primary where none is.

Booking, and whatever reads in order to change something, never comes here.
"""

import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError

from flightctl.core.database import Database, Transaction
from flightctl.core.errors import FlightctlError
from flightctl.core.schema import worker_heartbeats
from flightctl.core.settings import Settings
from flightctl.core.sql_functions import utc_now

T = TypeVar("T")

LOOK_SECONDS: Final = 2.0
"""How long a replica's lag is taken for granted: it may grow by as much before that is noticed."""
REST_SECONDS: Final = 10.0
"""For so long a replica that failed is not asked."""
CONNECT_SECONDS: Final = 1.0
"""A replica that is slower to answer than the primary is of no use."""
_SEPARATOR: Final = re.compile(r"\s*,\s*(?=[\w+]+://)")
"""Between URLs; a comma between the hosts of one is not followed by a scheme."""
_STATUS: Final = text("SHOW REPLICA STATUS")
_BEHIND: Final = ("Seconds_Behind_Source", "Seconds_Behind_Master")
_HEARTBEAT: Final = select(func.max(worker_heartbeats.c.seen_at), utc_now())


@dataclass(slots=True)
class Replica:
    """One of ``database.read_urls``; ``trouble`` is why it is not asked, empty when it is."""

    database: Database
    max_lag: float
    trouble: str = ""
    lag: float | None = None
    looked_at: float = 0.0
    rests_until: float = 0.0

    @property
    def label(self) -> str:
        return self.database.label

    def usable(self) -> bool:
        """Looks at the lag where the last look was too long ago."""
        now = time.monotonic()
        if now < self.rests_until:
            return False
        if not self.looked_at or now - self.looked_at > LOOK_SECONDS:
            try:
                self.lag = self.database.read(lag_of)
            except FlightctlError as error:
                self.rest(error.message)
                return False
            self.looked_at = now
            self.trouble = self._judge()
        return not self.trouble

    def rest(self, trouble: str) -> None:
        self.trouble, self.looked_at = trouble, 0.0
        self.rests_until = time.monotonic() + REST_SECONDS

    def _judge(self) -> str:
        if self.lag is None:
            return "it does not replicate, or nobody can tell how far it is behind"
        return "" if self.lag <= self.max_lag else f"it is {self.lag:.0f} s behind"


class Reader:
    """Reads for searches and lists, spread over the replicas."""

    def __init__(self, settings: Settings, primary: Database, warn: Callable[[str], None]) -> None:
        """``warn`` takes one line when no replica can be used. Raises ConfigError for a URL that is none."""
        self._primary = primary
        self._warn = warn
        self.replicas = [
            Replica(_replica(settings, url), settings["database.max_replica_lag"])
            for url in _SEPARATOR.split(settings["database.read_urls"].strip())
            if url
        ]

    def read(self, work: Callable[[Transaction], T]) -> T:
        """Run ``work``, which only reads. Raises as ``Database.read``."""
        for replica in random.sample(self.replicas, len(self.replicas)):
            if not replica.usable():
                continue
            try:
                return replica.database.read(work)
            except FlightctlError as error:
                if error.exit_status != UNUSABLE:
                    raise
                replica.rest(error.message)
        if self.replicas:
            self._warn("no replica can be used; the primary database serves instead")
        return self._primary.read(work)

    def close(self) -> None:
        for replica in self.replicas:
            replica.database.close()


UNUSABLE: Final = 7
"""Exit status of errors that are the database's own: down, without quorum, of another schema."""


def _replica(settings: Settings, url: str) -> Database:
    """One try is enough: there are others, and the primary."""
    changed = {
        "database.url": url,
        "database.retry_timeout": 0.0,
        "database.connect_timeout": min(CONNECT_SECONDS, settings["database.connect_timeout"]),
    }
    return Database(replace(settings, values={**settings.values, **changed}), key="database.read_urls", writing=False)


def lag_of(tx: Transaction) -> float | None:
    """Seconds that what the replica shows is old; None when that cannot be told.

    From the server's own account where this account may see it (REPLICA MONITOR on MariaDB, REPLICATION CLIENT on
    MySQL), else from the last heartbeat of a daemon that has come through.
    """
    known, lag = _from_server(tx)
    if known:
        return lag
    seen, now = tuple(tx.execute(_HEARTBEAT).one())
    return None if seen is None else max(0.0, float((now - seen).total_seconds()))


def _from_server(tx: Transaction) -> tuple[bool, float | None]:
    """Whether the server tells, and what. A replica whose threads do not run says NULL."""
    try:
        sources: list[Any] = list(tx.execute(_STATUS).mappings())
    except DBAPIError as error:
        if error.connection_invalidated:
            raise
        return False, None
    lags: list[Any] = [next((source[name] for name in _BEHIND if name in source), None) for source in sources]
    if not lags:
        return False, None
    return True, None if None in lags else float(max(lags))
