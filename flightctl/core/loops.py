"""A loop of the daemon as others see it: whether it turns, whether its rounds succeed, and since when they do not."""

import time
from collections.abc import Callable
from threading import Thread
from typing import Final

from flightctl.core.settings import Settings

FAILING_SECONDS: Final = 30.0
"""A loop whose every round has failed for so long is no passing trouble any more."""
_ANSWER_SECONDS: Final = 60.0
"""The longest wait for one answer of the database (its read timeout)."""
_SPARE_SECONDS: Final = 30.0


def patience(settings: Settings) -> float:
    """The longest that a loop which is well may take from one step to the next: one statement that gets no answer,
    its retries, two waits for a row lock, and one call of the gateway."""
    return float(
        _ANSWER_SECONDS
        + settings["database.retry_timeout"]
        + 2 * settings["database.lock_timeout"]
        + settings["gateway.delay"]
        + _SPARE_SECONDS
    )


class Loop:
    """One repeated task: ``work`` does a round and returns the seconds to sleep.

    The loop says ``turn`` at every step, so that others can tell work that takes its time from work that is stuck.
    """

    def __init__(self, role: str, work: Callable[[], float], patience: float) -> None:
        self.role = role
        self.work = work
        self.error = ""
        self.succeeded_at: float | None = None
        """When its last good round ended, by the wall clock."""
        self.thread: Thread | None = None
        self._patience = patience
        self._due = time.monotonic() + patience
        self._failing_since: float | None = None

    @property
    def healthy(self) -> bool:
        """Whether its last round was good, or its first is still to come."""
        return self._failing_since is None

    def turn(self, pause: float = 0.0) -> None:
        """It moves; ``pause``: and will now sleep for so long."""
        self._due = time.monotonic() + pause + self._patience

    def succeed(self) -> None:
        self._failing_since, self.error = None, ""
        self.succeeded_at = time.time()

    def fail(self, error: str) -> None:
        self._failing_since = self._failing_since or time.monotonic()
        self.error = error

    @property
    def stuck(self) -> str | None:
        """Why it will do no more work unless the process is started again; None when it turns."""
        if self.thread is not None and not self.thread.is_alive():
            return f"the {self.role} loop has ended"
        late = time.monotonic() - self._due
        return f"the {self.role} loop has not moved for {late + self._patience:.0f} s" if late > 0 else None

    @property
    def trouble(self) -> str | None:
        """Why it does not do its work; None when it does, or stumbled only just now."""
        if self.stuck or self._failing_since is None:
            return self.stuck
        failing = time.monotonic() - self._failing_since
        return f"the {self.role} loop fails for {failing:.0f} s: {self.error}" if failing > FAILING_SECONDS else None
