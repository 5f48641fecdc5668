"""The floor of searches: all itineraries counted by joining the flights with themselves, on the same indexes."""

from collections.abc import Callable
from datetime import date
from typing import Any, Final

from flightctl.core.bench.floors import Bare
from flightctl.core.settings import Settings

_USABLE: Final = "{leg}.status = 'ACTIVE' AND {leg}.available_seats >= %(seats)s"
_FIRST: Final = (
    "a.source = %(source)s AND a.departure_date = %(day)s AND a.departure_time > {now} AND " + _USABLE.format(leg="a")
)
_SECOND: Final = (
    " JOIN flights b ON b.source = a.destination AND b.departure_time BETWEEN {a_from} AND {a_to} AND "
    + _USABLE.format(leg="b")
)
_THIRD: Final = (
    " JOIN flights c ON c.source = b.destination AND c.departure_time BETWEEN {b_from} AND {b_to} AND "
    + _USABLE.format(leg="c")
)
_COUNT: Final = "SELECT COUNT(*) FROM flights a"
_COUNTS: Final = (
    f"{_COUNT} WHERE {_FIRST} AND a.destination = %(destination)s",
    f"{_COUNT}{_SECOND} WHERE {_FIRST} AND a.destination <> %(destination)s AND b.destination = %(destination)s",
    f"{_COUNT}{_SECOND}{_THIRD} WHERE {_FIRST} AND a.destination <> %(destination)s"
    " AND b.destination NOT IN (%(source)s, %(destination)s) AND c.destination = %(destination)s",
)
_NAMES: Final = ("source", "destination", "day", "seats")


def count_itineraries(settings: Settings, day: date, seats: int) -> Callable[[tuple[str, str]], int]:
    """Counts one to three legs between two airports; connection times are the settings'."""
    bare = Bare(settings)
    bounds = {"from": settings["search.min_connection"], "to": settings["search.max_connection"]}
    words = {
        f"{leg}_{end}": bare.later(f"{leg}.arrival_time", seconds) for leg in "ab" for end, seconds in bounds.items()
    }
    texts = [bare.text(count, _NAMES, **words) for count in _COUNTS]

    def work(pair: tuple[str, str]) -> int:
        values: dict[str, Any] = {"source": pair[0], "destination": pair[1], "day": day.isoformat(), "seats": seats}
        total = sum(int(bare.rows(text, values)[0][0]) for text in texts)
        bare.commit()
        return total

    return work


def count_anew(settings: Settings, day: date, seats: int) -> Callable[[tuple[str, str]], int]:
    """``count_itineraries`` of a process that connects only when it is asked."""

    def work(pair: tuple[str, str]) -> int:
        return count_itineraries(settings, day, seats)(pair)

    return work
