"""What was meant by an id that nothing has: one slip away, among what there is."""

from collections.abc import Iterator
from itertools import product
from typing import Any, Final

from sqlalchemy import func, literal, select

from flightctl.core import network
from flightctl.core.errors import FlightctlError
from flightctl.core.identifiers import LOCATOR_ALPHABET
from flightctl.core.runtime import Runtime
from flightctl.core.schema import bookings, flights

MOST: Final = 3
_LENGTH: Final = 6
_MOST_READINGS: Final = 200
_LOOK_ALIKES: Final = (
    "0QD8 OQD 1J7T IJT7 LJ 2Z Z2 4A A4 5S S5 6G G6 7TJ T7 J7 8B B8 CG DQ QD EF FE HN NMH MN KX XK PR RP UV VUYW WV YV"
)
_ALIKE: Final = {each[0]: each[1:] for each in _LOOK_ALIKES.split()}
"""What a character of a booking id may have been, read off a screen or taken down from a telephone."""


def similar_bookings(runtime: Runtime, typed: str) -> list[str]:
    """Bookings whose id is ``typed`` with look-alikes in place of characters, or with one slip, the likelier first."""
    typed = "".join(typed.upper().split()).replace("-", "")
    if not _LENGTH - 1 <= len(typed) <= _LENGTH + 1 or not typed.isascii() or not typed.isalnum():
        return []
    wanted = list(dict.fromkeys([*_readings(typed), *_slips(typed)]))
    query = select(bookings.c.booking_id).where(bookings.c.booking_id.in_(wanted))
    found = set(runtime.database.read(lambda tx: tx.execute(query).scalars().all()))
    return [booking for booking in wanted if booking in found][:MOST]


def _readings(typed: str) -> Iterator[str]:
    """Ids with look-alikes. 0, O, 1, I and L are in no id, so they must have been something else."""
    choices = [(char if char in LOCATOR_ALPHABET else "") + _ALIKE.get(char, "") for char in typed]
    for number, chars in enumerate(product(*choices)):
        if number >= _MOST_READINGS:
            return
        if len(chars) == _LENGTH:
            yield "".join(chars)


def _slips(typed: str) -> Iterator[str]:
    """Ids with two neighbours swapped, and with one character another, one missing or one too many."""
    cuts = [(typed[:i], typed[i:]) for i in range(len(typed) + 1)]
    made = [left + right[1] + right[0] + right[2:] for left, right in cuts if len(right) > 1]
    made += [left + char + right[1:] for left, right in cuts if right for char in LOCATOR_ALPHABET]
    made += [left + char + right for left, right in cuts for char in LOCATOR_ALPHABET]
    made += [left + right[1:] for left, right in cuts if right]
    return (each for each in made if len(each) == _LENGTH)


def unserved(runtime: Runtime, source: str, destination: str, date: str) -> list[str]:
    """Sentences about airports that no flight uses although they exist, with those that may have been meant; else about
    a date without flights from there. None where the database does not answer."""
    try:
        told = [_unserved(runtime, source, flights.c.source, "leaves")]
        told.append(_unserved(runtime, destination, flights.c.destination, "goes to"))
        if not any(told):
            told.append(_off_season(runtime, source, date))
    except FlightctlError:
        return []
    return [sentence for sentence in told if sentence]


def _off_season(runtime: Runtime, source: str, date: str) -> str:
    from flightctl.core.search import now, resolve_day

    airport = network.airport(source)
    day, today = (resolve_day(text, lambda: now(runtime), airport.iata, "--date") for text in (date, "today"))
    if day < today:
        return f"{day} is in the past."
    query = select(func.min(flights.c.departure_date), func.max(flights.c.departure_date))
    query = query.where(flights.c.source == airport.iata)
    first, last = runtime.database.read(lambda tx: tuple(tx.execute(query).one()))
    return "" if first <= day <= last else f"The flights from {airport.iata} are those from {first} to {last}."


def _unserved(runtime: Runtime, code: str, column: Any, verb: str) -> str:
    airport = network.airport(code)

    def work(tx: Any) -> list[str] | None:
        if tx.execute(select(literal(1)).select_from(flights).where(column == airport.iata).limit(1)).first():
            return None
        near = network.slips(airport.iata)
        served = set(tx.execute(select(column).where(column.in_(near)).distinct()).scalars())
        return [f"{other} ({network.airport(other).city})" for other in near if other in served][:MOST]

    near = runtime.database.read(work)
    if near is None:
        return ""
    meant = f" Did you mean {' or '.join(near)}?" if near else ""
    return f"No flight {verb} {airport.iata} ({airport.city}).{meant}"
