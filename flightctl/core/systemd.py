"""What systemd and its journal want to hear, in their own words: sd_notify(3), sd-daemon(3), systemd.exec(5).

Outside of systemd none of the variables is set, and nothing is said.
"""

import logging
import os
import socket
from collections.abc import Mapping
from typing import Final

_SECONDS: Final = 1.0
"""How long a full queue of the service manager may keep the daemon."""
_PRIORITIES: Final = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
_DEBUG_PRIORITY: Final = 7


class Notifier:
    """The socket ``NOTIFY_SOCKET``, a path or an abstract name that begins with ``@``; silent without one."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        environ = os.environ if environ is None else environ
        name = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + name[1:] if name.startswith("@") else name if name.startswith("/") else ""
        self.watchdog_seconds = _watchdog(environ) if self._address else None
        """After so long without ``WATCHDOG=1`` systemd kills the daemon; None: never."""

    @property
    def active(self) -> bool:
        return bool(self._address)

    def tell(self, *assignments: str) -> None:
        """Send e.g. ``READY=1``. A manager that does not listen is nobody's error: the work goes on without it."""
        if not self._address:
            return
        message = "\n".join(" ".join(assignment.splitlines()) for assignment in assignments)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                channel.settimeout(_SECONDS)
                channel.connect(self._address)
                channel.sendall(message.encode("utf-8", "replace"))
        except OSError:
            return


def _watchdog(environ: Mapping[str, str]) -> float | None:
    """Seconds of ``WATCHDOG_USEC``, unless it was meant for another process."""
    microseconds = environ.get("WATCHDOG_USEC", "")
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()) or not microseconds.isdigit():
        return None
    return int(microseconds) / 1e6 or None


def goes_to_journal(descriptor: int, environ: Mapping[str, str] | None = None) -> bool:
    """Whether what is written there ends in the journal: ``JOURNAL_STREAM`` names its device and inode."""
    stream = (os.environ if environ is None else environ).get("JOURNAL_STREAM", "")
    try:
        there = os.fstat(descriptor)
    except OSError:
        return False
    return stream == f"{there.st_dev}:{there.st_ino}"


def priority(level: int) -> str:
    """The prefix by which the journal knows the level of a line, e.g. ``<3>`` for an error."""
    number = next((number for least, number in _PRIORITIES if level >= least), _DEBUG_PRIORITY)
    return f"<{number}>"
