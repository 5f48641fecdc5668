"""A pager for what is longer than the terminal: FLIGHTCTL_PAGER, else PAGER, else less."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Final

DEFAULT: Final = "less -FRX"
"""Quit where all fits after all, keep colours, leave what was read on the screen."""
_COLOUR: Final = re.compile(r"\x1b\[[\d;]*m")


def page(lines: Sequence[str]) -> bool:
    """Show the lines in the user's pager; False, with nothing shown, where they fit or there is none."""
    if not _longer_than_the_terminal(lines):
        return False
    command = pager(os.environ)
    if not command:
        return False
    environment = {**os.environ, "LESSCHARSET": "utf-8"}
    environment.setdefault("LESS", "FRX")
    try:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment)  # noqa: S603  the user's own choice
    except OSError:  # there is no such program: the lines themselves are what was wanted
        return False
    # Ctrl-C is the pager's while it runs; set now, since a program started with it ignored would ignore it too.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process.communicate("".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace"))
    finally:
        signal.signal(signal.SIGINT, before)
    return True


def pager(environment: Mapping[str, str]) -> list[str]:
    """The command; empty for none: not wanted (an empty variable, or ``cat``), not there, or no terminal to page on."""
    if environment.get("TERM", "dumb") == "dumb":
        return []
    for name in ("FLIGHTCTL_PAGER", "PAGER"):
        if name in environment:
            wanted = environment[name]
            break
    else:
        wanted = DEFAULT if shutil.which("less") else ""
    try:
        command = shlex.split(wanted)
    except ValueError:
        return []
    return [] if command == ["cat"] else command


def _longer_than_the_terminal(lines: Sequence[str]) -> bool:
    """Counting what the terminal itself wraps. One that does not tell its size (0 by 0: expect, CI, some containers)
    has no screen that could overflow, and often nobody who would leave a pager."""
    try:
        size = os.get_terminal_size(sys.stdout.fileno())
    except (OSError, ValueError):
        return False
    if size.lines < 1 or size.columns < 1:
        return False
    return sum(1 + max(0, _width(line) - 1) // size.columns for line in lines) >= max(2, size.lines)


def _width(line: str) -> int:
    return len(_COLOUR.sub("", line))
