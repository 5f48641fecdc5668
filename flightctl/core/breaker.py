"""How long one process may wait for Redis, and what happens when it took too long: a pause, and one warning."""

import time
from collections.abc import Callable
from typing import Final

DELAY_BUDGET: Final = 0.45
"""Seconds that one command may lose to a Redis in trouble (0.5 is promised; the rest is for the warning)."""
CALL_TIMEOUT: Final = 0.2
_SLOW_CALL: Final = 0.05
"""A call longer than this eats into the budget; ordinary ones take well under a millisecond."""


class Breaker:
    """Closed while Redis may be asked; open for ``pause`` seconds after a failure. ``warn`` takes one line."""

    def __init__(self, pause: float, warn: Callable[[str], None]) -> None:
        self._pause = pause
        self._warn = warn
        self._off_until = 0.0
        self._trouble = ""
        self._told = False
        self._lost = 0.0
        self._lost_at = 0.0

    def closed(self) -> bool:
        if time.monotonic() >= self._off_until:
            return True
        self._tell()
        return False

    def renew(self) -> None:
        """Another command begins: its user is to be told, too."""
        self._told = False

    def deadline(self) -> float:
        """When (monotonic) a call that starts now must have ended."""
        now = time.monotonic()
        return now + max(CALL_TIMEOUT, DELAY_BUDGET - self._still_lost(now))

    def answered(self, seconds: float) -> bool:
        """Redis answered after so long; False when it is too slow to be asked again now."""
        now = time.monotonic()
        if seconds >= _SLOW_CALL:
            self._lost = self._still_lost(now) + seconds
            self._lost_at = now
            if self._lost > DELAY_BUDGET - CALL_TIMEOUT:
                self.trip(TimeoutError())
                return False
        if self._trouble:
            self._trouble = ""
            self._told = False
            self._warn("Redis is back")
        return True

    def trip(self, error: Exception) -> None:
        self._off_until = time.monotonic() + self._pause
        self._trouble = _reason(error)
        self._tell()

    def _tell(self) -> None:
        """Once, until Redis is back or another command begins."""
        if not self._told:
            self._told = True
            self._warn(f"Redis is not usable ({self._trouble}); going on from the database alone")

    def _still_lost(self, now: float) -> float:
        """What was lost so far; it is made good at a twentieth of real time (for the daemon)."""
        return max(0.0, self._lost - (now - self._lost_at) / 20)


def _reason(error: Exception) -> str:
    from ssl import SSLCertVerificationError, SSLError

    from redis.exceptions import AuthenticationError
    from redis.exceptions import TimeoutError as RedisTimeout

    cause = error.__context__
    if isinstance(cause, SSLCertVerificationError):
        return f"its certificate is not trusted: {cause.verify_message}"
    if isinstance(cause, SSLError):
        return "TLS is not to be had with it"
    if isinstance(error, AuthenticationError):
        return "it refuses the password"
    if isinstance(error, RedisTimeout | TimeoutError):
        return "it answers too slowly"
    if isinstance(error, ConnectionError | OSError) or type(error).__name__ == "ConnectionError":
        return "no connection"
    return " ".join(str(error).split())[:80] or type(error).__name__
