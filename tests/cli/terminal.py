"""A terminal of our own: what a person types into it, and what then stands on it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_ESCAPES = re.compile(r"\x1b(\[[0-9;?]*[ -/]*[@-~]|[()][A-Z0-9]|[=>])|\r|\x07|\x01|\x02")


class Terminal:
    """One program in a terminal of ``columns`` x ``lines``; leave it with ``with``."""

    def __init__(
        self,
        command: Sequence[str],
        env: Mapping[str, str],
        *,
        columns: int = 100,
        lines: int = 24,
        cwd: Path | None = None,
    ) -> None:
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self._fd = ours
        self.process = subprocess.Popen(
            command,
            env={"TERM": "xterm", **env},
            cwd=cwd,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            preexec_fn=self._own_terminal,  # noqa: PLW1509  no threads here
        )
        os.close(theirs)
        self.text = ""
        """All that stood on it so far, without escapes."""
        self.raw = ""
        """The same with them."""

    @staticmethod
    def _own_terminal() -> None:
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._fd)

    def type(self, keys: str) -> None:
        os.write(self._fd, keys.encode())

    def wait_for(self, pattern: str, *, timeout: float = 30) -> str:
        """What came up to and with ``pattern``; later calls look behind it."""
        deadline = time.monotonic() + timeout
        while not (found := re.search(pattern, self._pending, re.DOTALL)):
            if not self._read(deadline - time.monotonic()):
                raise AssertionError(f"{pattern!r} did not come; there is {self._pending!r}")
        passed = self._pending[: found.end()]
        self._pending = self._pending[found.end() :]
        return passed

    def end(self, *, timeout: float = 30) -> int:
        """The exit status, when the program has ended; the rest of what it wrote is in ``text``."""
        deadline = time.monotonic() + timeout
        while self._read(deadline - time.monotonic()):
            pass
        return self.process.wait(timeout=max(0.1, deadline - time.monotonic()))

    _pending = ""

    def _read(self, timeout: float) -> bool:
        if timeout <= 0 or not select.select([self._fd], [], [], timeout)[0]:
            return False
        try:
            piece = os.read(self._fd, 65536).decode("utf-8", "replace")
        except OSError:  # the other side is closed
            return False
        self.raw += piece
        clean = _ESCAPES.sub("", piece)
        self.text += clean
        self._pending += clean
        return bool(piece)
