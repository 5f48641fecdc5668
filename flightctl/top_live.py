"""``top`` on a terminal: looks in a thread of their own, frames by rich, one key at a time.

A database that hangs or goes away neither freezes the screen nor ends it: the last figures stay, and the screen says
how old they are and what is wrong.
"""

import io
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from flightctl.core import overview
from flightctl.core.errors import FlightctlError
from flightctl.core.runtime import Runtime
from flightctl.top_screen import Scene, draw

if TYPE_CHECKING:
    from rich.console import Console

FRAME_SECONDS: Final = 0.5
"""Between frames: countdowns move by seconds."""
SILENT_SECONDS: Final = 3.0
"""A look that takes longer is told on the screen."""
_QUIT: Final = frozenset("qQ\x1b\x03\x04")
_NOW: Final = frozenset(" r")


class Looker:
    """Looks every ``interval`` seconds while it is asked; one look at a time."""

    def __init__(self, runtime: Runtime, interval: float) -> None:
        self._runtime = runtime
        self._interval = interval
        self._thread: Thread | None = None
        self._began = 0.0
        self._look: overview.Overview | None = None
        self._looked_at = 0.0
        self._error = ""
        self._since = time.monotonic()
        """When the database answered last, or the first question was asked."""

    def scene(self, title: str, keys: str, *, now: bool = False) -> Scene:
        """What is known at this moment; begins a look when one is due, or with ``now``."""
        moment = time.monotonic()
        if not self._looking and (now or moment - self._began >= self._interval or not self._began):
            self._began = moment
            self._thread = Thread(target=self._run, daemon=True)
            self._thread.start()
        age = moment - self._looked_at if self._look else 0.0
        return Scene(title, self._look, age, self._trouble(moment), keys)

    @property
    def _looking(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _run(self) -> None:
        try:
            look = overview.look(self._runtime)
        except FlightctlError as error:
            self._error = error.message
            return
        self._look, self._looked_at, self._error = look, time.monotonic(), ""
        self._since = self._looked_at

    def _trouble(self, moment: float) -> str:
        hangs = self._looking and moment - self._began > SILENT_SECONDS
        if not self._error and not hangs:
            return ""
        what = self._error or "the database does not answer"
        figures = f"; figures of {self._look.vitals.at:%H:%M:%S}Z" if self._look else ""
        return f"{what}, for {moment - self._since:.0f} s now{figures}. Trying again."


def _title(runtime: Runtime) -> str:
    """Raises ConfigError for a database that no address leads to."""
    return f"{runtime.settings['environment']}  {runtime.database.label}"


def _console(color: bool) -> "Console":
    """For a terminal whose encoding may lack the bars."""
    from rich.console import Console

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    return Console(color_system="auto" if color else None, highlight=False, markup=False, emoji=False)


def show_once(runtime: Runtime, look: overview.Overview, *, color: bool) -> None:
    """One frame, as high as the terminal, that stays."""
    console = _console(color)
    console.print(draw(Scene(_title(runtime), look), console.width, console.height - 1))


def watch(runtime: Runtime, interval: float, *, color: bool) -> None:
    """Draw until q, Escape, Ctrl-C or SIGTERM; the terminal is then as it was."""
    from rich.live import Live

    title, console = _title(runtime), _console(color)
    runtime.warn = lambda _: None  # the screen tells of Redis itself
    looker = Looker(runtime, interval)
    with _interrupts(), _keys() as read, Live(console=console, screen=True, auto_refresh=False) as live:
        pressed = ""
        while not _QUIT & set(pressed):
            scene = looker.scene(title, "q quits", now=bool(_NOW & set(pressed)))
            live.update(draw(scene, console.width, console.height), refresh=True)
            pressed = read(FRAME_SECONDS)


@contextmanager
def _interrupts() -> Iterator[None]:
    """Ctrl-C and SIGTERM are ways to leave, not errors."""

    def leave(_signum: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    except KeyboardInterrupt:
        return
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _keys() -> Iterator[Callable[[float], str]]:
    """A function that waits so many seconds for keys; where stdin is no terminal it only waits."""
    if not sys.stdin or not sys.stdin.isatty():

        def pause(seconds: float) -> str:
            time.sleep(seconds)
            return ""

        yield pause
        return
    import termios
    import tty

    descriptor = sys.stdin.fileno()
    before: Any = termios.tcgetattr(descriptor)

    def read(seconds: float) -> str:
        ready, _, _ = select.select([descriptor], [], [], seconds)
        if not ready:
            return ""
        return os.read(descriptor, 64).decode("utf-8", "replace") or "q"  # an end of input is an end

    try:
        tty.setcbreak(descriptor)
        yield read
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
