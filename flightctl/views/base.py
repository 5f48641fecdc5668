"""What a view is, and how values of records are written."""

from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple

from flightctl.core.errors import UnknownAirportError

Fields = Mapping[str, Any]
"""A record as its JSON object: camelCase keys in order; strings, numbers, booleans, None, lists and objects."""


class Cell(NamedTuple):
    """A column on a terminal. Where the terminal is too narrow, ``wide`` moves to a line of its own, where it can still
    be copied whole, and ``prose`` is wrapped."""

    title: str
    text: Callable[[Fields], str]
    right: bool = False
    wide: bool = False
    prose: bool = False
    style: Callable[[Fields], str] | None = None
    """Colours, as rich names them; by the text, as statuses are, where None."""


class View(NamedTuple):
    """``columns`` are those of CSV and of plain tables: stable, and keys of what ``fields`` returns unless ``flat``
    makes them. ``id_keys``: where ``-q`` finds the id, the first that has one. ``nested``: a key with records."""

    fields: Callable[[Any], Fields]
    columns: tuple[str, ...]
    cells: tuple[Cell, ...] = ()
    id_keys: tuple[str, ...] = ()
    flat: Callable[[Fields], Fields] = dict
    nested: "tuple[str, View] | None" = None

    def flat_row(self, fields: Fields) -> list[Any]:
        flat = self.flat(fields)
        return [flat[column] for column in self.columns]

    def ids(self, fields: Fields) -> Iterator[str]:
        found = next((fields[key] for key in self.id_keys if fields.get(key)), None)
        if found is not None:
            yield str(found)


# --- values


def money(amount: Decimal) -> str:
    return f"{amount:.2f}"


def instant(at: datetime | None) -> str | None:
    """UTC, ending in Z."""
    if at is None:
        return None
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


_IN_UTC: Final = ContextVar("in_utc", default=False)


def show_utc(wanted: bool) -> None:
    """Whether the command that starts now shows flight times in UTC (``--utc``)."""
    _IN_UTC.set(wanted)


def local(at: datetime, airport: str) -> str:
    """A flight's time, with the airport's offset, or as ``instant`` does where the user wants UTC; UTC also where a
    damaged row names no airport, so that a list never fails for it."""
    if _IN_UTC.get():
        return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
    from flightctl.core import network

    try:
        return network.to_local(at, airport).isoformat()
    except UnknownAirportError:
        return at.astimezone(UTC).isoformat()


# --- values on a terminal


def printable(text: str) -> str:
    """``text`` without what would move a terminal's cursor."""
    if text.isprintable():
        return text
    from flightctl.core.identifiers import is_readable

    kept = (char if is_readable(char) else char.encode("unicode_escape").decode("ascii") for char in text)
    return "".join(kept)


def words(key: str) -> str:
    """``bookingId`` as ``booking id``."""
    return "".join(f" {char.lower()}" if char.isupper() else char for char in key)


def human(key: str, value: Any) -> str:
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(human(key, item) for item in value) or "–"
    if isinstance(value, int):
        return f"{value:,}"
    text = str(value)
    if key.endswith(("Time", "At")) or key == "at":
        text = clock_time(text)
    return printable(text)


def clock_time(iso: str | None) -> str:
    """``2026-12-01 06:10 +05:30`` for an airport's time, ``2026-12-01 00:40:12Z`` for any other."""
    if not iso:
        return "–"
    at = datetime.fromisoformat(iso)
    if iso.endswith("Z"):
        return f"{at:%Y-%m-%d %H:%M:%S}Z"
    return f"{at:%Y-%m-%d %H:%M} {iso[-6:]}"


def clock(iso: str) -> str:
    return f"{datetime.fromisoformat(iso):%H:%M}"


def day_and_time(iso: str) -> str:
    return f"{datetime.fromisoformat(iso):%a %d %b %H:%M}"


def arrival(fields: Fields) -> str:
    """Local time, with the days that have passed since the local day of departure."""
    left, landed = (datetime.fromisoformat(fields[key]) for key in ("departureTime", "arrivalTime"))
    days = (landed.date() - left.date()).days
    return f"{landed:%H:%M}" + (f" {days:+d}" if days else "")


def duration(minutes: int) -> str:
    return f"{minutes // 60}h {minutes % 60:02d}m"


def text_of(
    key: str, title: str | None = None, *, right: bool = False, wide: bool = False, prose: bool = False
) -> Cell:
    """A cell with the value of one key."""
    return Cell(words(key) if title is None else title, lambda fields: human(key, fields[key]), right, wide, prose)
