"""A batch: requests as JSON lines, answers as JSON lines in the same order, each flushed before the next is read."""

import io
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import IO, Any, Final

from flightctl.cli import inherit
from flightctl.core.errors import FlightctlError, UsageError, ValidationError
from flightctl.errors_shown import InterruptedByUserError, as_document, one_line
from flightctl.render import OutputError, abandon
from flightctl.session import Session
from flightctl.warm import Runtimes

MAX_LINE: Final = 1 << 20
"""Bytes of one request: a thousand times more than the longest command line anybody means."""
REFUSED: Final = {
    "daemon": "it runs until it is stopped",
    "shell": "it reads commands from a terminal",
    "-": "a batch has no batches in it",
    "top": "it draws on a terminal",
}
INTERRUPTED: Final = InterruptedByUserError.exit_status
_EXAMPLE: Final = 'Write {"command": "book", "args": ["6E203-20261201", "--user", "asha"]}.'
_KEYS: Final = ("id", "command", "args", "argv")


class _BadRequestError(ValidationError):
    """A line that is no request; ``request_id`` is its id where that much could be read."""

    request_id: Any = None


@dataclass(frozen=True, slots=True)
class Request:
    """One line that was understood. ``id`` is whatever JSON value its sender gave it."""

    id: Any
    argv: tuple[str, ...]


class BatchSession(Session):
    """Warnings and errors go into the answer; the form is JSON unless the request itself asks for another."""

    def __init__(self, runtimes: Runtimes) -> None:
        super().__init__(runtimes)
        self.warnings: list[str] = []
        self.error: FlightctlError | None = None

    @property
    def format(self) -> str:
        return self.output or "json"

    @property
    def interactive(self) -> bool:
        return False

    def start(self, command: str) -> None:
        if command in REFUSED:
            raise UsageError(f"`{command}` cannot be part of a batch: {REFUSED[command]}", hint="Run it by itself.")
        super().start(command)

    def warn(self, message: str) -> None:
        text = one_line(message)
        if text not in self.warnings:
            self.warnings.append(text)

    def note(self, text: str) -> None:
        """For people only."""

    def fail(self, error: FlightctlError, *, as_json: bool) -> None:
        self.error = error


def serve(parent: Session, requests: IO[bytes], answers: IO[bytes]) -> int:
    """Answer every request; the exit status of the first one that failed, 0 where none did.

    Raises OutputError when nobody takes the answers any more: requests that nobody would hear of are not run.
    """
    status, runtimes = 0, Runtimes()
    try:
        for number, line in _lines(requests):
            try:
                request = _request(line, first=number == 1)
            except _BadRequestError as error:
                error.details["line"] = number
                answer = _answer(error.request_id, error.exit_status, error=error)
            else:
                answer = _run(request, parent, runtimes)
            _send(answer, answers, number)
            status = status or answer["exit"]
            if answer["exit"] == INTERRUPTED:
                return INTERRUPTED
    finally:
        runtimes.close()
    return status


def _lines(requests: IO[bytes]) -> Iterator[tuple[int, bytes | None]]:
    """Each line that is not blank, and its number; None for one that is too long, which is never held whole."""
    number = 0
    while piece := requests.readline(MAX_LINE + 1):
        number += 1
        if len(piece) > MAX_LINE and not piece.endswith(b"\n"):
            while piece and not piece.endswith(b"\n"):
                piece = requests.readline(MAX_LINE)
            yield number, None
        elif piece.strip():
            yield number, piece


def _send(answer: Mapping[str, Any], answers: IO[bytes], number: int) -> None:
    try:
        answers.write(json.dumps(answer, separators=(",", ":"), default=str).encode() + b"\n")
        answers.flush()
    except OSError as error:
        abandon(sys.stdout)
        raise OutputError(
            f"the answer to line {number} cannot be written: {error.strerror or error}",
            hint="What its command did stands; the lines after it were not run.",
        ) from None


# --- a line in


def _request(line: bytes | None, *, first: bool) -> Request:
    """Raises _BadRequestError."""
    if line is None:
        raise _BadRequestError(f"the line is longer than {MAX_LINE:,} bytes", hint="")
    try:
        document = json.loads(line.decode("utf-8-sig" if first else "utf-8"), parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise _BadRequestError("the line is not JSON", hint=_EXAMPLE) from None
    if not isinstance(document, dict):
        raise _BadRequestError("the line is not a JSON object", hint=_EXAMPLE)
    try:
        return Request(document.get("id"), _argv(document))
    except _BadRequestError as error:
        error.request_id = document.get("id")
        raise


def _no_number(name: str) -> None:
    raise ValueError(name)


def _argv(document: Mapping[str, Any]) -> tuple[str, ...]:
    for key in document:
        if key not in _KEYS:
            raise _BadRequestError(f"unknown key {one_line(key, 40)!r}", hint=f"There are {', '.join(_KEYS)}.")
    if "argv" in document:
        if "command" in document or "args" in document:
            raise _BadRequestError("argv stands for command and args together", hint="Give either.")
        return _words(document["argv"], "argv")
    command = document.get("command")
    if not isinstance(command, str) or not command.strip():
        raise _BadRequestError("the request names no command", hint=_EXAMPLE)
    return (*command.split(), *_words(document.get("args", []), "args"))  # "bookings show" too


def _words(value: Any, key: str) -> tuple[str, ...]:
    """Strings; whole numbers as they are written. Fractions stay out: money must not pass through binary."""
    if not isinstance(value, list):
        raise _BadRequestError(f"{key} is not a list", hint='Write ["6E203-20261201", "--user", "asha"].')
    for word in value:
        if isinstance(word, bool) or not isinstance(word, (str, int)):
            shown = one_line(json.dumps(word), 40)
            raise _BadRequestError(f"{key} holds {shown}", hint="It takes strings and whole numbers.")
    return tuple(map(str, value))


# --- a command, and a line out


def _run(request: Request, parent: Session, runtimes: Runtimes) -> dict[str, Any]:
    from flightctl.app import run

    session = BatchSession(runtimes)
    inherit(session, parent)
    session.output, session.quiet = None, False  # the batch's own
    printed = io.StringIO()
    with redirect_stdout(printed), _no_stdin():
        status = run(request.argv, session)
    if status == INTERRUPTED:
        runtimes.close()
    return _answer(
        request.id, status, text=printed.getvalue(), session=session, error=session.error, warnings=session.warnings
    )


@contextmanager
def _no_stdin() -> Iterator[None]:
    """The next request is nobody's answer to a question."""
    before, sys.stdin = sys.stdin, io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    try:
        yield
    finally:
        sys.stdin = before


def _answer(
    request_id: Any,
    status: int,
    *,
    text: str = "",
    session: BatchSession | None = None,
    error: FlightctlError | None = None,
    warnings: Sequence[str] = (),
) -> dict[str, Any]:
    """``result`` where there is one (what JSON the command printed, else its text), ``error`` where it failed."""
    answer: dict[str, Any] = {"id": request_id, "exit": status}
    if text or error is None:
        answer["result"] = _result(text, session)
    if error is not None:
        answer["error"] = as_document(error)
    answer["warnings"] = list(warnings)
    return answer


def _result(text: str, session: BatchSession | None) -> Any:
    if not text:
        return None
    if session is not None and session.started and session.format == "json" and not session.quiet:
        try:
            return json.loads(text)
        except ValueError:  # help and the like
            return text
    return text
