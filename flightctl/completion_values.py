"""Values for completion: airports from the shipped table; bookings, flights and payments from the database, at once or
not at all.

The drivers are used directly: SQLAlchemy's import alone takes longer than a key press may. Only fixed SELECTs are sent,
and nothing that is not made of an id's letters comes back to a shell.
"""

import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from flightctl.completion import Candidate
from flightctl.core.settings import Settings, load_settings

DEADLINE: Final = 0.07
"""Seconds for the database, of the 0.15 that an answer may take."""
MOST: Final = 50
_WORD: Final = re.compile(r"[A-Za-z0-9_-]*", re.ASCII)
_NAME: Final = re.compile(r"[\w.@-]*", re.ASCII)
_DATES: Final = ("today", "tomorrow", "+2d", "+3d", "+7d")

# The placeholder is SQLite's; %s takes its place for MySQL.
_BOOKINGS: Final = (
    "SELECT booking_id, status, user_id, flight_identifier FROM bookings"
    " WHERE booking_id LIKE ? ORDER BY created_at DESC LIMIT 50"
)
_BOOKED_FLIGHTS: Final = (
    "SELECT f.flight_id, f.source, f.destination, f.status FROM (SELECT booking_id, created_at FROM bookings"
    " ORDER BY created_at DESC LIMIT 10) b JOIN booking_flights l ON l.booking_id = b.booking_id"
    " JOIN flights f ON f.flight_id = l.flight_id ORDER BY b.created_at DESC, l.leg_order"
)
_NEXT_FLIGHTS: Final = (
    "SELECT flight_id, source, destination, status FROM flights WHERE departure_time > ?"
    " ORDER BY departure_time LIMIT 30"
)
_FLIGHTS: Final = (
    "SELECT flight_id, source, destination, status FROM flights WHERE flight_id LIKE ? AND departure_time > ?"
    " ORDER BY flight_id LIMIT 50"
)
_PAYMENTS: Final = (
    "SELECT payment_id, status, booking_id, source FROM payments"
    " WHERE payment_id LIKE ? ORDER BY created_at DESC LIMIT 50"
)
_ORIGINS: Final = "SELECT DISTINCT source, 1, 1, 1 FROM flights LIMIT 100"


class Finder:
    """Called with a kind of value and what was typed of it. ``words``: of the command line, for its --config and
    --context."""

    def __init__(self, words: Sequence[str] = ()) -> None:
        self._words = words

    def __call__(self, kind: str, typed: str) -> list[Candidate]:
        if kind == "date":
            return [Candidate(word) for word in _DATES if word.startswith(typed)]
        if kind == "context":
            return list(_contexts(typed))
        if not _WORD.fullmatch(typed) and kind != "airport":
            return []
        if kind == "airport":
            return list(_airports(typed)) if typed else [_airport(row[0]) for row in self._ask([(_ORIGINS, ())])]
        return [_described(row) for row in self._ask(_questions(kind, typed))]

    def _ask(self, questions: "Sequence[Question]") -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = []
        settings = load_settings(_given(self._words, "--config"), context=_given(self._words, "--context"))
        if not str(settings["database.url"]).startswith("sqlite"):
            import flightctl.completion_mysql  # noqa: F401  here, so that the deadline is the server's alone
        # A name server or a connection that hangs must not: whoever waits here leaves in time, the thread behind.
        thread = threading.Thread(target=_fetch, args=(settings, questions, rows), daemon=True)
        thread.start()
        thread.join(DEADLINE)
        unique = {str(row[0]): row for row in list(rows)}
        return [row for value, row in unique.items() if value and _WORD.fullmatch(value)][:MOST]


Question = tuple[str, tuple[Any, ...]]


def _questions(kind: str, typed: str) -> list[Question]:
    like, now = f"{typed.upper()}%", datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
    if kind == "booking":
        return [(_BOOKINGS, (like,))]
    if kind == "payment":
        return [(_PAYMENTS, (f"{typed.lower()}%",))]
    if kind == "flight" and typed:
        return [(_FLIGHTS, (like, now))]
    if kind == "flight":
        return [(_BOOKED_FLIGHTS, ()), (_NEXT_FLIGHTS, (now,))]
    return []


def _given(words: Sequence[str], option: str) -> str | None:
    found = None
    for word, following in zip(words, [*words[1:], ""], strict=False):
        if word == option:
            found = following
        elif word.startswith(f"{option}="):
            found = word.partition("=")[2]
    return found


def _contexts(typed: str) -> Iterator[Candidate]:
    from flightctl.core.context_list import list_contexts

    for row in list_contexts(None).rows:
        if row["name"].startswith(typed) and _NAME.fullmatch(row["name"]):
            yield Candidate(row["name"], row["environment"] or "")


def _described(row: tuple[Any, ...]) -> Candidate:
    return Candidate(str(row[0]), " ".join(str(value) for value in row[1:]))


# --- airports


def _airport(code: str) -> Candidate:
    from flightctl.core.network import find_airport

    found = find_airport(code)
    return Candidate(code) if found is None else Candidate(code, f"{found.city}, {found.name}")


def _airports(typed: str) -> Iterator[Candidate]:
    from flightctl.core.network import airports_starting

    for found in airports_starting(typed):
        yield Candidate(found.iata, f"{found.city}, {found.name}")


# --- the database


def _fetch(settings: Settings, questions: Iterable[Question], rows: list[tuple[Any, ...]]) -> None:
    try:
        url = str(settings["database.url"])
        if url.startswith("sqlite"):
            _fetch_sqlite(url, questions, rows)
        else:
            from flightctl.completion_mysql import fetch

            rows += fetch(settings, [(sql.replace("?", "%s"), values) for sql, values in questions], DEADLINE)
    except Exception:  # noqa: BLE001  down, not migrated, another URL than this understands: nothing to offer
        return


def _fetch_sqlite(url: str, questions: Iterable[Question], rows: list[tuple[Any, ...]]) -> None:
    import sqlite3
    from urllib.parse import quote, urlsplit

    path = quote(urlsplit(url).path[1:])
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=DEADLINE)  # which never makes a file
    try:
        for sql, values in questions:
            rows += connection.execute(sql, values).fetchall()
    finally:
        connection.close()
