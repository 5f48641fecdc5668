"""``flightctl shell``: a prompt, and the same commands behind it, in one warm process."""

import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from flightctl import __version__
from flightctl.cli import inherit
from flightctl.completion import FILES, complete
from flightctl.core.contexts import choose
from flightctl.core.errors import ConfigError, FlightctlError, UsageError
from flightctl.errors_shown import InterruptedByUserError, wants_json
from flightctl.session import Session
from flightctl.warm import Runtimes

MOST_LINES: Final = 1000
"""Lines that the history keeps."""
LEAVE: Final = {"exit", "quit"}
REFUSED: Final = {
    "daemon": "it takes the signals of its whole process",
    "shell": "this is one",
    "-": "a batch is no command of a person",
}
_SYSTEM_SHELL: Final = {"|", "||", "&", "&&", ";", "<", ">", ">>", "2>"}


class ShellSession(Session):
    def start(self, command: str) -> None:
        if command in REFUSED:
            raise UsageError(
                f"`{command}` cannot be run within the shell: {REFUSED[command]}", hint="Run it from another terminal."
            )
        super().start(command)


class Shell:
    """``parent`` has the options given to the shell: they hold for every command that does not give its own."""

    def __init__(self, parent: Session) -> None:
        self._parent = parent
        self._runtimes = Runtimes()

    def run(self) -> int:
        """Read and run lines until there are no more.

        The exit status is 0 at a terminal, else that of the first command that failed, or of the interrupt.
        """
        at_terminal = sys.stdin.isatty() and sys.stdout.isatty()
        try:
            return self._converse() if at_terminal else self._obey()
        finally:
            self._runtimes.close()

    def _obey(self) -> int:
        status = 0
        for line in sys.stdin:
            words = self._words(line)
            if words is not None and words[:1] and words[0] in LEAVE:
                break
            done = UsageError.exit_status if words is None else self._do(words)
            status = status or done
            if done == InterruptedByUserError.exit_status:
                return done
        return status

    def _converse(self) -> int:
        self._parent.note(
            f"flightctl {__version__}: commands as ever, without `flightctl`. Tab completes, Ctrl-D leaves."
        )
        editor = _Editor(self._parent)
        _preload()
        while True:
            try:
                line = input(self._prompt())
                editor.remember(line)
                words = self._words(line)
                if words is not None and words[:1] and words[0] in LEAVE:
                    return 0
                if words is not None:
                    self._do(words)
            except KeyboardInterrupt:  # the line is given up, not the shell
                print()
            except EOFError:
                print()
                return 0

    def _prompt(self) -> str:
        """With the context that the next command will be for."""
        try:
            context = choose(self._parent.context, os.environ)
        except ConfigError:  # the next command tells
            context = None
        return "flightctl> " if context is None else f"flightctl {context.name}> "

    def _words(self, line: str) -> list[str] | None:
        """The words of a line, without the program's name; None, and the user told, where they cannot be told apart."""
        try:
            words = shlex.split(line, comments=True)
            if signs := _SYSTEM_SHELL.intersection(words):
                raise ValueError(f"{min(signs)} is nothing to flightctl's shell")
        except ValueError as error:
            reason = str(error)[:1].lower() + str(error)[1:]
            self._fail(
                UsageError(reason, hint="It knows words and quotes; for pipes and files leave it."), line.split()
            )
            return None
        return words[1:] if words[:1] == ["flightctl"] else words

    def _fail(self, error: FlightctlError, words: Sequence[str]) -> None:
        as_json = self._parent.format == "json" or wants_json(words, None)
        self._parent.fail(error, as_json=as_json)

    def _do(self, words: Sequence[str]) -> int:
        if not words:
            return 0
        from flightctl.app import run

        session = ShellSession(self._runtimes)
        inherit(session, self._parent)
        status = run(words, session)
        if status == InterruptedByUserError.exit_status:
            self._runtimes.close()
        return status


def _preload() -> None:
    """What every command loads, while the user reads the greeting: the first is to be as quick as the others."""
    import flightctl.core.booking
    import flightctl.core.lists
    import flightctl.core.search  # noqa: F401


class _Editor:
    """The line editor's history and completion; a Python without readline has neither."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._file: Path | None = None
        self._found: list[str] = []
        try:
            import readline
        except ImportError:
            self._readline: Any = None
            return
        self._readline = readline
        readline.set_auto_history(False)  # answers to questions are no commands
        readline.set_history_length(MOST_LINES)
        readline.set_completer_delims(" \t\n")
        readline.set_completer(self._completed)
        readline.parse_and_bind("tab: complete")
        try:
            self._file = _history_file()
            readline.read_history_file(self._file)
        except OSError as error:
            self._session.warn(f"no history: {error.strerror or error}")
            self._file = None

    def remember(self, line: str) -> None:
        """Keep a line, unless it begins with a blank or repeats the one before; at once, whatever ends the shell."""
        readline = self._readline
        if readline is None or not line.strip() or line[0].isspace():
            return
        length = readline.get_current_history_length()
        if length and readline.get_history_item(length) == line:
            return
        readline.add_history(line)
        if self._file is None:
            return
        try:
            readline.append_history_file(1, self._file)
        except OSError as error:
            self._session.warn(f"the history is no longer kept: {error.strerror or error}")
            self._file = None

    def _completed(self, text: str, state: int) -> str | None:
        if state == 0:
            try:
                self._found = list(self._candidates(text))
            except Exception:  # noqa: BLE001  what readline calls has nowhere to report to
                self._found = []
        return self._found[state] if state < len(self._found) else None

    def _candidates(self, text: str) -> Iterator[str]:
        from flightctl.app import program
        from flightctl.completion_tree import along
        from flightctl.completion_values import Finder

        words = self._readline.get_line_buffer()[: self._readline.get_begidx()].split()
        if words[:1] == ["flightctl"]:
            words = words[1:]
        given = [] if self._session.config is None else ["--config", self._session.config]
        given += [] if self._session.context is None else ["--context", self._session.context]
        for value, _ in complete(along(program(), words), words, text, Finder([*given, *words])):
            if value == FILES:
                yield from _files(text)
            else:
                yield value + " "


def _files(text: str) -> Iterator[str]:
    from glob import escape, glob

    for found in sorted(glob(escape(os.path.expanduser(text)) + "*")):
        yield found + "/" if os.path.isdir(found) else found + " "


def _history_file() -> Path:
    """In the user's state folder (XDG Base Directory Specification); nobody else may read it."""
    base = os.environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
    path = Path(base) / "flightctl" / "history"
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    path.chmod(0o600)
    return path
