"""`flightctl help TOPIC`: exit codes, errors and formats, from the tables that the program itself uses."""

from dataclasses import dataclass
from typing import Any, Final

from flightctl.core import errors
from flightctl.errors_shown import EXIT_CODES, InterruptedByUserError
from flightctl.session import FORMATS
from flightctl.views.base import Fields, View, text_of

TOPICS: Final = {
    "exit-codes": "What each exit status means, and which errors end with it.",
    "errors": "Every error code: its exit status, whether to try again, and what to do.",
    "formats": "Forms of the data, and how values are written in them.",
}
_VALUES: Final = {
    "flight times": "ISO 8601 with the airport's offset, 2026-12-01T06:10:00+05:30; with --utc in UTC, ending in Z",
    "other times": "UTC, ending in Z: 2026-12-01T00:40:12Z",
    "money": "two decimals, a string in JSON: 5400.00",
    "dates given": "YYYY-MM-DD, today, tomorrow or +3d, at the origin",
    "durations given": "90s, 5m, 1h",
    "ids": "flights, itineraries and bookings in any case",
    "keys": "camelCase in JSON, and as the columns of CSV and of plain tables",
}


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """A class of errors as users see it."""

    code: str
    exit: int
    retryable: bool
    meaning: str
    hint: str


def error_codes() -> list[ErrorCode]:
    """Every code once, by exit status."""
    found: list[ErrorCode] = []
    for kind in (*vars(errors).values(), InterruptedByUserError):
        if isinstance(kind, type) and issubclass(kind, errors.FlightctlError) and kind is not errors.FlightctlError:
            meaning = _first_line(kind)
            found.append(ErrorCode(kind.code, kind.exit_status, kind.retryable, meaning, kind.default_hint))
    return sorted(found, key=lambda each: each.exit)


def _first_line(kind: type) -> str:
    return (kind.__doc__ or "").strip().partition("\n")[0].removesuffix(".")


def _error(record: ErrorCode) -> Fields:
    return {
        "code": record.code,
        "exit": record.exit,
        "retryable": record.retryable,
        "meaning": record.meaning,
        "hint": record.hint,
    }


def _exit(record: tuple[int, str]) -> Fields:
    status, meaning = record
    return {"exit": status, "meaning": meaning, "codes": [each.code for each in error_codes() if each.exit == status]}


def _format(record: tuple[str, str]) -> Fields:
    return {"name": record[0], "form": record[1]}


ERROR: Final = View(
    _error,
    ("code", "exit", "retryable", "meaning", "hint"),
    cells=(
        text_of("code"),
        text_of("exit", right=True),
        text_of("retryable", "retry"),
        text_of("meaning", prose=True),
        text_of("hint", prose=True),
    ),
    id_keys=("code",),
)
EXIT: Final = View(
    _exit,
    ("exit", "meaning", "codes"),
    cells=(text_of("exit", right=True), text_of("meaning"), text_of("codes", prose=True)),
    id_keys=("exit",),
)
FORMAT: Final = View(_format, ("name", "form"), cells=(text_of("name"), text_of("form", prose=True)), id_keys=("name",))


def rows_of(topic: str) -> tuple[View, list[Any]]:
    """The view and the records of one of ``TOPICS``."""
    if topic == "errors":
        return ERROR, list(error_codes())
    if topic == "exit-codes":
        return EXIT, list(EXIT_CODES.items())
    return FORMAT, [*FORMATS.items(), *_VALUES.items()]
