"""What people see of long work on schedules: a bar while it runs, and the rows that were skipped."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from flightctl.session import Session

SHOWN_REJECTIONS: Final = 20
"""Lines of a bad file that are told one by one."""


@contextmanager
def progress_bar(session: Session, what: str) -> Iterator[Callable[[int, int], None] | None]:
    """A bar on stderr, where somebody watches it, gone when it is full. It takes the done and the total."""
    if session.quiet or sys.stderr is None or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True, no_color=not session.color)
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def warn_of_rejected(session: Session, rejected: Sequence[tuple[int, str]]) -> None:
    """Name the skipped lines of a file, the first ones one by one."""
    for line, reason in rejected[:SHOWN_REJECTIONS]:
        session.warn(f"line {line}: {reason}")
    if len(rejected) > SHOWN_REJECTIONS:
        session.warn(f"{len(rejected) - SHOWN_REJECTIONS} more lines were skipped")
