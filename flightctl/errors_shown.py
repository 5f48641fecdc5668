"""From any exception to what a user sees of it: one line, or one JSON object, on stderr. Never a password."""

import json
import os
import re
import sys
from collections.abc import Sequence
from shlex import quote
from typing import Any, Final

import typer
from typer.exceptions import TyperException

from flightctl.core.errors import FlightctlError, InternalError, UsageError, ValidationError

MAX_MESSAGE: Final = 400
"""Characters of a message: what a person reads, even where somebody's input of 10 kB stands in it."""
MAX_DETAIL: Final = 2000
"""Characters of one string in ``details``."""

# The last @ of a word ends the password, so that one with @ or / in it is hidden whole; cut text may end within one.
_PASSWORD: Final = re.compile(r"(://[^\s/@:]*:)(?:\S*@|\S*\Z)")
_SECRET: Final = re.compile(r"(?i)\b((?:password|passwd|secret|token|ssl_key_password)=)[^&#\s]*")
_WITH_PORT: Final = re.compile(r"://[^\s/@:]*:\d{1,5}(?![^\s/?,;)'\"])")


class InterruptedByUserError(FlightctlError):
    """Ctrl-C, or "no" to a question."""

    code = "INTERRUPTED"
    exit_status = 130
    default_hint = ""


EXIT_CODES: Final = {
    0: "done",
    1: "defect",
    2: "wrong input",
    3: "not found",
    4: "protected environment",
    5: "no seats",
    6: "wrong state",
    7: "database or service down",
    8: "waited too long",
    9: "something does not add up",
    10: "key of another request",
    11: "payment declined",
    InterruptedByUserError.exit_status: "interrupted",
}
"""What each exit status means."""


def unknown_command(name: str, known: Sequence[str], path: str, *, lister: str | None = None) -> UsageError:
    """``lister`` shows what is known; ``path --help`` otherwise."""
    from difflib import get_close_matches

    close = get_close_matches(name.lower(), known, n=1)
    hint = (
        f"Did you mean `{path} {close[0]}`?"
        if close
        else f"`{lister or f'{path} --help'}` lists the commands there are."
    )
    return UsageError(f"no such command: {one_line(name, 60)}", hint=hint)


def as_flightctl_error(error: BaseException) -> FlightctlError:
    """The error of ours that ``error`` is reported as."""
    if isinstance(error, FlightctlError):
        return error
    if isinstance(error, (KeyboardInterrupt, typer.Abort)):
        # With a result where it came too late to leave nothing behind.
        return InterruptedByUserError(
            "aborted", hint=getattr(error, "hint", None), result=getattr(error, "result", None)
        )
    if isinstance(error, TyperException):
        return _from_typer(error)
    if type(error).__module__ == "sqlalchemy.exc":
        from flightctl.core.database_errors import refusal

        if refused := refusal(error):
            return refused
    text = str(error).strip().partition("\n")[0]
    return InternalError(f"{type(error).__name__}: {text}" if text else type(error).__name__)


def _from_typer(error: TyperException) -> FlightctlError:
    message = error.format_message()
    context = getattr(error, "ctx", None)
    hint = f"See `{context.command_path} --help`." if context is not None else None
    possible = getattr(error, "possibilities", None)
    if possible:
        message, hint = error.message, f"Did you mean {_closest(getattr(error, 'option_name', ''), possible)}?"
    if isinstance(error, typer.BadParameter) and error.message.startswith("--"):
        message = error.message  # names its option itself
    message = " ".join(message.split()).removesuffix(".")  # typer lists choices on lines of their own
    message = message[:1].lower() + message[1:]
    # Typer's MissingParameter is a BadParameter too, and its name is private.
    if isinstance(error, typer.BadParameter) and not hasattr(error, "param_type"):
        return ValidationError(message, hint=hint)
    return UsageError(message, hint=hint)


def _closest(typed: str, possible: Sequence[str]) -> str:
    from difflib import SequenceMatcher

    return max(sorted(possible), key=lambda option: SequenceMatcher(None, typed, option).ratio())


def mask(text: str) -> str:
    """``text`` without the passwords of URLs in it."""
    return _SECRET.sub(r"\1***", _PASSWORD.sub(_masked, text))


def _masked(match: re.Match[str]) -> str:
    if not match[0].endswith("@"):
        return match[0] if _WITH_PORT.match(match[0]) else match[1] + "***"
    return match[1] + "***@"


def one_line(text: str, limit: int = MAX_MESSAGE) -> str:
    """``text`` masked, cut, and with everything that is not printable as an escape."""
    text = mask(text[: limit * 4])
    if len(text) > limit:
        text = text[:limit] + "…"
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def as_json(error: FlightctlError) -> str:
    """One line, and ASCII, so that whoever splits lines by Unicode's rules finds one as well."""
    return json.dumps({"error": as_document(error)}, separators=(",", ":"), default=str)


def as_document(error: FlightctlError) -> dict[str, Any]:
    """The error as its JSON object."""
    return {
        "code": error.code,
        "message": one_line(error.message),
        "retryable": error.retryable,
        "hint": one_line(error.hint),
        "details": _cleaned(error.details),
    }


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        masked = mask(value[: MAX_DETAIL * 2])
        return masked if len(masked) <= MAX_DETAIL else masked[:MAX_DETAIL] + "…"
    if isinstance(value, dict):
        return {str(key): _cleaned(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_cleaned(inner) for inner in value]
    return value


def as_text(error: FlightctlError) -> str:
    """``message. hint`` on one line, and the key of a booking that is to be tried again."""
    message = one_line(error.message)
    if message and message[-1] not in ".?!…":
        message += "."
    key = error.details.get("idempotencyKey")
    retry = error.retryable or isinstance(error, InterruptedByUserError)
    again = f"The key was: --idempotency-key {quote(one_line(key))}" if key and retry else ""
    return " ".join(part for part in (message, one_line(error.hint), again) if part)


def say(label: str, text: str, *, color: bool, ansi: str) -> None:
    """``label: text`` on stderr, the label coloured on a terminal that has colours."""
    write_stderr(f"\x1b[{ansi}m{label}:\x1b[0m {text}" if color and stderr_has_colors() else f"{label}: {text}")


def stderr_has_colors() -> bool:
    return (
        sys.stderr is not None
        and sys.stderr.isatty()
        and not os.environ.get("NO_COLOR")
        and os.environ.get("TERM", "") not in {"", "dumb", "unknown"}
    )


def write_stderr(line: str) -> None:
    """A closed stderr is nobody's error."""
    try:
        print(line, file=sys.stderr, flush=True)
    except (OSError, ValueError, AttributeError):
        return


def wants_json(argv: Sequence[str], environment: str | None) -> bool:
    """Whether JSON was asked for, for a command line that did not parse."""
    wanted = (environment or "").strip().lower()
    for index, word in enumerate(argv):
        if word == "--":
            break
        if word in {"-o", "--output"} and index + 1 < len(argv):
            wanted = argv[index + 1].lower()
        elif word.startswith("--output="):
            wanted = word.partition("=")[2].lower()
        elif re.fullmatch(r"-q?o.+", word):
            wanted = word.partition("o")[2].lower()
        elif word == "-qo" and index + 1 < len(argv):
            wanted = argv[index + 1].lower()
    return wanted == "json"
