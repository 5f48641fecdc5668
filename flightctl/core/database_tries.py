"""How often one transaction is tried, and what is said when that was in vain."""

import random
import time
from typing import TYPE_CHECKING, Final

from sqlalchemy.exc import DBAPIError

from flightctl.core.counters import Counters
from flightctl.core.database_errors import Trouble, translate
from flightctl.core.errors import LockAcquisitionFailedError, OutcomeUnknownError

if TYPE_CHECKING:
    from flightctl.core.database import Operation

CONFLICT_ATTEMPTS: Final = 12
"""Tries of one transaction before its conflicts are reported: at 16 writers on one row the longest seen was 4."""
LOCK_TIMEOUT_ATTEMPTS: Final = 2
"""A lock timeout has already waited for database.lock_timeout; one more wait is all that an agent bears."""
_BACKOFF_START, _BACKOFF_LIMIT = 0.004, 0.25


class Conflict(Exception):  # noqa: N818 - not an error: the transaction runs again
    """A guarded UPDATE lost to another transaction that the lock should have kept out (locks are local to a node)."""


class Tries:
    """Counts the failures of one transaction and decides between another try and an error."""

    def __init__(self, retry_seconds: float, counters: Counters) -> None:
        self._retry_seconds = retry_seconds
        self._counters = counters
        self._conflicts = self._timeouts = self._losses = 0
        self._lost_at: float | None = None
        self.connected = False

    def pause_or_give_up(self, error: DBAPIError | Conflict, trouble: Trouble, operation: "Operation") -> None:
        if trouble is Trouble.CONFLICT:
            self._conflicts += 1
            if self._conflicts < CONFLICT_ATTEMPTS:
                self._counters.add("retries.conflict")
                time.sleep(_jitter(self._conflicts))
                return
        elif trouble is Trouble.LOCK_TIMEOUT:
            self._timeouts += 1
            if self._timeouts < LOCK_TIMEOUT_ATTEMPTS:
                self._counters.add("retries.lock_timeout")
                return
        elif trouble in {Trouble.DISCONNECTED, Trouble.UNREACHABLE} and (self.connected or _electing(error)):
            # A server that never answered fails at once; one that went away in mid-work is looked for again, and a
            # group that elects its primary is waited for.
            now = time.monotonic()
            self._lost_at = self._lost_at or now
            self._losses += 1
            if now - self._lost_at < self._retry_seconds:
                self._counters.add("retries.connection")
                time.sleep(_jitter(self._losses + 3))
                return
        if operation.commit_unknown:
            raise OutcomeUnknownError(
                "the database went away while it was committing, so it is not known whether this happened"
            ) from error
        if trouble in {Trouble.CONFLICT, Trouble.LOCK_TIMEOUT} or isinstance(error, Conflict):
            raise LockAcquisitionFailedError("the rows it needs stayed locked by others") from error
        raise translate(error) from error


def _electing(error: DBAPIError | Conflict) -> bool:
    return bool(getattr(getattr(error, "orig", None), "electing", False))


def _jitter(attempt: int) -> float:
    limit = min(_BACKOFF_LIMIT, _BACKOFF_START * 2**attempt)
    return random.uniform(limit / 4, limit)  # noqa: S311 - spreads retries, guards nothing
