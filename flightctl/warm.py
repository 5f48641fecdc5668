"""Many commands in one process: what they share, and what each has of its own.

Commands with the same settings share one ``Runtime``: its connections, what it remembers of flights, and what it
learnt of Redis. Everything else, from the options to the warnings said, is a new ``Session`` for each.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from flightctl.core.runtime import Runtime
    from flightctl.core.settings import Settings

MOST_RUNTIMES: Final = 4
"""Systems that one process keeps connections to; the one used longest ago gives way."""


class Runtimes:
    """The runtimes of this process, by the settings they were made from."""

    def __init__(self) -> None:
        self._kept: dict[tuple[Any, ...], Runtime] = {}

    def lend(self, settings: "Settings", *, actor: str, warn: Callable[[str], None]) -> "Runtime":
        """A runtime for one command, which does not close it."""
        from flightctl.core.runtime import Runtime

        key = tuple(settings.values.items())
        runtime = self._kept.pop(key, None)
        if runtime is None:
            runtime = Runtime(settings, actor=actor, warn=warn)
        else:
            runtime.renew(settings, actor=actor, warn=warn)
        while len(self._kept) >= MOST_RUNTIMES:
            self._kept.pop(next(iter(self._kept))).close()
        self._kept[key] = runtime
        return runtime

    def close(self) -> None:
        """Give all connections back: at the end, and after a command that was interrupted, perhaps amid an answer."""
        while self._kept:
            self._kept.popitem()[1].close()
