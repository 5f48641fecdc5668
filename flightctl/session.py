"""One run of one command: the options given, the runtime made from them, and the ways to speak to the user."""

import os
import sys
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import typer

from flightctl.core.errors import ConfigError, ValidationError
from flightctl.errors_shown import one_line, say

if TYPE_CHECKING:
    from flightctl.core.errors import FlightctlError
    from flightctl.core.model.pages import Page
    from flightctl.core.runtime import Runtime
    from flightctl.core.settings import Settings
    from flightctl.render import Output
    from flightctl.views.base import View
    from flightctl.warm import Runtimes

FORMATS: Final = {
    "table": "for people on a terminal; in a pipe a header and one row a line, tabs between columns, nothing cut",
    "json": "one JSON document; a list is {content, page, size, totalElements}; errors are JSON on stderr",
    "csv": "a header and one row a record; lists within a field have blanks between them",
}
MAX_ACTOR: Final = 64
"""Characters, as the column ``booking_events.actor`` has them."""
YELLOW: Final = "33"
RED: Final = "1;31"


class Session:
    """``output`` to ``actor`` are the options of every command; None or False where not given.

    A process of one command makes its runtime and closes it; one of many lends each the runtime from ``runtimes``.
    """

    def __init__(self, runtimes: "Runtimes | None" = None) -> None:
        self._runtimes = runtimes
        self.output: str | None = None
        self.quiet = False
        self.no_color = False
        self.no_pager = False
        self.utc = False
        self.config: str | None = None
        self.context: str | None = None
        self.actor: str | None = None
        self.started = False
        self.changes = False
        """Whether the command is one that changes something."""
        self.error_details: dict[str, Any] = {}
        """What every error of this command says in its details."""
        self._warned: set[str] = set()

    def start(self, command: str) -> None:
        """The command line of ``command`` (its path) parsed; fail now, before anything is done, if its result could not
        be printed. Others than this one refuse commands here."""
        from flightctl.views.base import show_utc

        _ = self.format
        show_utc(self.utc)
        self.started = True

    @property
    def format(self) -> str:
        if self.output is not None:
            return self.output
        value = (os.environ.get("FLIGHTCTL_OUTPUT") or "table").strip().lower()
        if value not in FORMATS:
            raise ConfigError(
                f"FLIGHTCTL_OUTPUT: {one_line(value, 40)!r} is not one of {', '.join(FORMATS)}",
                hint="Set it to one of these, or unset it.",
            )
        return value

    @property
    def color(self) -> bool:
        return not self.no_color and not os.environ.get("NO_COLOR")

    @cached_property
    def settings(self) -> "Settings":
        from flightctl.core.settings import load_settings

        settings = load_settings(self.config, context=self.context)
        # A job of cron has its own variables, and means them, whatever somebody's current context is.
        remembered = settings.context is not None and settings.context.by == "current" and self.config is None
        if not remembered or _is_terminal(sys.stderr):
            for remark in settings.remarks:
                self.warn(remark)
        return settings

    @cached_property
    def runtime(self) -> "Runtime":
        self._show_production()
        if self._runtimes is not None:
            return self._runtimes.lend(self.settings, actor=self.who, warn=self.warn)
        from flightctl.core.runtime import Runtime

        return Runtime(self.settings, actor=self.who, warn=self.warn)

    @property
    def who(self) -> str:
        """The actor of events. Raises ValidationError for a name that no event can carry."""
        name = self.actor if self.actor is not None else os.environ.get("FLIGHTCTL_ACTOR")
        if name is None or (self.actor is None and not name.strip()):
            return _system_user()
        name = name.strip()
        if not name or len(name) > MAX_ACTOR or not name.isprintable():
            raise ValidationError(
                f"actor {one_line(name, 40)!r} is not a name", hint=f"1 to {MAX_ACTOR} printable characters."
            )
        return name

    def close(self) -> None:
        """The command is over."""
        runtime = self.__dict__.pop("runtime", None)
        if runtime is not None and self._runtimes is None:
            runtime.close()

    # --- data, to stdout

    @property
    def _output(self) -> "Output":
        from flightctl.render import Output

        return Output(self.format, quiet=self.quiet, color=self.color, pager=not self.no_pager)

    def show(self, record: Any) -> None:
        """Print one record; its type tells the view."""
        from flightctl.views import view_of

        self.show_as(view_of(record), record)

    def show_rows(self, view: "View", records: Sequence[Any], document: Mapping[str, Any]) -> None:
        """Print records of one kind; ``document`` is the JSON they are part of."""
        from flightctl.render import print_rows

        print_rows(self._output, view, records, document)

    def show_as(self, view: "View", record: Any) -> None:
        """Print one record by a view of the caller's choice."""
        from flightctl.render import print_record

        print_record(self._output, view, record)

    def show_text(self, text: str) -> None:
        """Print a file's text as it is."""
        from flightctl.render import print_text

        print_text(text)

    def show_all(self, view: "View", records: Sequence[Any]) -> None:
        """Print a list that has one page."""
        from flightctl.core.model.pages import Page

        self.show_page(view, Page(tuple(records), 0, len(records), len(records)))

    def show_page(self, view: "View", page: "Page") -> None:
        content = [view.fields(record) for record in page.content]
        document = {"content": content, "page": page.page, "size": page.size, "totalElements": page.total_elements}
        self.show_rows(view, page.content, document)
        self.show_position(len(content), page.page, page.size, page.total_elements)

    def show_position(self, shown: int, page: int, size: int, total: int) -> None:
        """Tell a person which part of a list this is; programs read it in the JSON."""
        if not self.for_people:
            return
        if self.utc and shown:
            self.note("Flight times are UTC.")
        if total == 0:
            self.note("Nothing found.")
        elif shown == 0:
            self.note(f"{total} in all; the last page is --page {(total - 1) // size}.")
        elif shown < total:
            first = page * size + 1
            more = f"; next: --page {page + 1}" if first + shown - 1 < total else ""
            self.note(f"{first}–{first + shown - 1} of {total}{more}")

    # --- everything else, to stderr

    @property
    def for_people(self) -> bool:
        """Whether somebody reads the table on a terminal."""
        return self.format == "table" and not self.quiet and _is_terminal(sys.stdout)

    @property
    def interactive(self) -> bool:
        """Whether a question would reach somebody who can answer it."""
        return _is_terminal(sys.stdin) and _is_terminal(sys.stderr)

    def _show_production(self) -> None:
        """Once, before something changes in production, to a person at a terminal."""
        if not self.changes:
            return
        self.changes = False
        if self.settings.production and self.format != "json" and not self.quiet and _is_terminal(sys.stderr):
            from flightctl.production import show

            show(self.settings, color=self.color)

    def warn(self, message: str) -> None:
        """One line on stderr, each text once."""
        text = one_line(message)
        if text not in self._warned:
            self._warned.add(text)
            say("warning", text, color=self.color, ansi=YELLOW)

    def fail(self, error: "FlightctlError", *, as_json: bool) -> None:
        """Tell why the command failed."""
        from flightctl import errors_shown

        if as_json:
            errors_shown.write_stderr(errors_shown.as_json(error))
        else:
            say("error", errors_shown.as_text(error), color=self.color, ansi=RED)

    def tell(self, lines: Sequence[str]) -> None:
        """What was asked for beside the data: on stderr, whatever the format."""
        from flightctl.errors_shown import write_stderr

        for line in lines:
            write_stderr(one_line(line))

    def note(self, text: str) -> None:
        """A remark on stderr for people; nothing where a program reads."""
        if self.format == "table" and not self.quiet:
            from flightctl.errors_shown import write_stderr

            write_stderr(one_line(text))

    def confirm(self, question: str) -> None:
        """Ask on stderr. Raises typer.Abort unless the answer is yes."""
        self._show_production()
        typer.confirm(one_line(question), err=True, abort=True)

    def require_yes(self, question: str, *, doing: str) -> None:
        """For what cannot be undone. Raises ValidationError where nobody can be asked, typer.Abort for a no."""
        if not self.interactive:
            raise ValidationError(doing, hint="Pass --yes to do it.")
        self.confirm(question)

    def require_typed(self, question: str, word: str, *, doing: str) -> None:
        """As ``require_yes``, with ``word`` to be typed for a yes (in any case)."""
        if not self.interactive:
            raise ValidationError(doing, hint="Pass --yes to do it.")
        self._show_production()
        if typer.prompt(one_line(question), err=True, default="", show_default=False).strip().upper() != word.upper():
            raise typer.Abort


def _is_terminal(stream: Any) -> bool:
    try:
        return stream is not None and bool(stream.isatty())
    except ValueError:  # closed
        return False


def _system_user() -> str:
    from getpass import getuser

    try:
        name = getuser()
    except (KeyError, OSError, ImportError):  # a container's uid without a passwd entry
        name = f"uid {os.getuid()}"
    return "".join(char for char in name if char.isprintable())[:MAX_ACTOR] or "unknown"
