"""The airports of the world: position, city and time zone by IATA code, from ``seed_data/airports.tsv``.

Most commands need two or three airports of eight thousand. The table is therefore read as bytes and searched by
bisection, and only the lines asked for are parsed.
"""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import cache, lru_cache
from math import asin, cos, radians, sin, sqrt
from typing import TYPE_CHECKING, Final, NamedTuple

from flightctl.core.errors import UnknownAirportError
from flightctl.core.resources import resource

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

EARTH_DIAMETER_KM: Final = 2 * 6371.0088
"""Twice the mean radius of the earth (IUGG R1)."""

EARLIEST_ZONE: Final = timedelta(hours=14)
"""How far the zone is ahead of UTC in which a date begins first."""
LATEST_ZONE: Final = timedelta(hours=12)
"""How far that is behind it in which the date ends last."""

CODE_LENGTH: Final = 3
CACHE_SIZE: Final = 16_384
"""Of codes as typed: room for every airport twice, but a file full of rubbish does not fill the memory."""
MAX_QUOTED: Final = 40
"""Characters of a mistyped airport that an error message repeats."""
MAX_SUGGESTIONS: Final = 3
OTHER_NAMES: Final = {"bombay": "BOM", "madras": "MAA", "calcutta": "CCU", "bengaluru": "BLR", "kochi": "COK"}
"""Cities that agents call by a name the table does not have."""


class Airport(NamedTuple):
    """``country`` is ISO 3166 alpha-2, ``zone`` an IANA name, the position in degrees north and east."""

    iata: str
    name: str
    city: str
    country: str
    zone: str
    latitude: float
    longitude: float


@cache
def _table() -> bytes:
    """airports.tsv: a header, then lines sorted by code, each ending in a newline."""
    return resource("seed_data/airports.tsv").read_bytes()


def _parse(line: bytes) -> Airport:
    iata, name, city, country, zone_name, latitude, longitude = line.decode().split("\t")
    return Airport(iata, name, city, country, zone_name, float(latitude), float(longitude))


def _search(code: str) -> Airport | None:
    wanted, data = code.encode(), _table()
    low, high = data.index(b"\n") + 1, len(data)
    while low < high:  # both always stand at the start of a line
        start = data.rfind(b"\n", low, (low + high) // 2) + 1 or low
        end = data.index(b"\n", start)
        found = data[start : start + CODE_LENGTH]
        if found == wanted:
            return _parse(data[start:end])
        if found < wanted:
            low = end + 1
        else:
            high = start
    return None


@lru_cache(maxsize=CACHE_SIZE)
def find_airport(code: str) -> Airport | None:
    """The airport of an IATA code in any case, blanks around it ignored; None when there is none."""
    normal = code.strip().upper()
    return _search(normal) if len(normal) == CODE_LENGTH and normal.isascii() and normal.isalpha() else None


def airport(code: str) -> Airport:
    """The airport of an IATA code in any case, blanks around it ignored.

    Raises UnknownAirportError, with airports that may have been meant in its hint.
    """
    found = find_airport(code)
    if found is None:
        typed = " ".join(code.split())
        shown = typed if len(typed) <= MAX_QUOTED else typed[:MAX_QUOTED] + "…"
        raise UnknownAirportError(f"unknown airport {shown!r}", hint=_hint(typed), details={"airport": shown})
    return found


def all_airports() -> Iterator[Airport]:
    """Every airport, sorted by code."""
    return map(_parse, _table().split(b"\n")[1:-1])


def airports_starting(typed: str, most: int = 50) -> list[Airport]:
    """Airports whose code begins so, in any case, by code; where there is none, those whose city does."""
    data, wanted = _table(), typed.strip()
    if wanted.isascii() and wanted.isalpha() and len(wanted) <= CODE_LENGTH:
        start = b"\n" + wanted.upper().encode()
        first = data.find(start)
        if first >= 0:
            lines = data[first + 1 : data.find(b"\n", data.rfind(start) + 1)].split(b"\n")
            return [_parse(line) for line in lines[:most]]
    return [_parse(line) for line in _lines_of_city(wanted)[:most]] if wanted else []


def _lines_of_city(start: str) -> list[bytes]:
    """Lines of cities that begin so, without parsing eight thousand: a key was pressed and waits."""
    other = next((code for city, code in OTHER_NAMES.items() if city.startswith(start.casefold())), None)
    if other is not None:
        start, column = other, rb""
    else:
        column = rb"[A-Z]{3}\t[^\t\n]*\t"
    return re.findall(rb"(?im)^" + column + re.escape(start.encode("utf-8", "replace")) + rb"[^\n]*", _table())


@lru_cache(maxsize=CACHE_SIZE)
def zone(code: str) -> "ZoneInfo":
    """The time zone of an airport. Raises UnknownAirportError."""
    from zoneinfo import ZoneInfo  # keeps one object for each zone by itself

    return ZoneInfo(airport(code).zone)


def to_local(instant_utc: datetime, code: str) -> datetime:
    """An aware instant with the airport's own offset. Raises UnknownAirportError, ValueError for a naive datetime."""
    if instant_utc.tzinfo is None:
        # astimezone would silently take it for the time of this machine
        raise ValueError("to_local needs an aware datetime")
    return instant_utc.astimezone(zone(code))


def day_anywhere(day: date) -> tuple[datetime, datetime]:
    """The instants (UTC) at which a date begins and ends, wherever on earth it begins first and ends last: flights of a
    local date depart in between, and an index of instants finds them."""
    midnight = datetime.combine(day, time(), UTC)
    return midnight - EARLIEST_ZONE, midnight + timedelta(days=1) + LATEST_ZONE


def distance_km(a: str, b: str) -> float:
    """Great-circle distance of two airports in kilometres, on a sphere (haversine). Raises UnknownAirportError."""
    one, two = airport(a), airport(b)
    latitude_1, latitude_2 = radians(one.latitude), radians(two.latitude)
    half_lat = (latitude_2 - latitude_1) / 2
    half_lon = radians(two.longitude - one.longitude) / 2
    chord = sin(half_lat) ** 2 + cos(latitude_1) * cos(latitude_2) * sin(half_lon) ** 2
    return EARTH_DIAMETER_KM * asin(sqrt(min(1.0, chord)))  # rounding may exceed 1 for antipodes


def _hint(typed: str) -> str:
    meant = [f"{found.iata} ({found.city})" for found in _suggestions(typed)]
    if not meant:
        return UnknownAirportError.default_hint
    listed = meant[0] if len(meant) == 1 else f"{', '.join(meant[:-1])} or {meant[-1]}"
    return f"Did you mean {listed}?"


def _suggestions(typed: str) -> list[Airport]:
    """Best first: airports of that city, with that word in the name, of a city spelt alike, with swapped letters."""
    wanted = typed.casefold()[:MAX_QUOTED]
    if not wanted:
        return []
    if wanted in OTHER_NAMES:
        return [airport(OTHER_NAMES[wanted])]
    everything = list(all_airports())
    named = [found for found in everything if found.city.casefold() == wanted]
    if not named and len(wanted) > CODE_LENGTH:
        named = [found for found in everything if wanted in f"{found.city} {found.name}".casefold()]
    if named:
        # An international airport is asked for more often than a field of the same city.
        return sorted(named, key=lambda found: ("International" not in found.name, found.iata))[:MAX_SUGGESTIONS]
    if len(wanted) == CODE_LENGTH:
        return _similar_codes(wanted.upper())
    return _similar_cities(wanted, everything)


def _similar_codes(code: str) -> list[Airport]:
    """Airports whose code has two neighbouring letters of this one swapped."""
    swapped = {code[1] + code[0] + code[2], code[0] + code[2] + code[1]}
    return [found for other in sorted(swapped) if (found := find_airport(other))]


def _similar_cities(wanted: str, everything: list[Airport]) -> list[Airport]:
    from difflib import get_close_matches

    by_city: dict[str, Airport] = {}
    for found in everything:
        key = found.city.casefold()
        if key not in by_city or "International" in found.name:
            by_city[key] = found
    by_city |= {name: airport(code) for name, code in OTHER_NAMES.items()}
    close = get_close_matches(wanted, by_city, n=MAX_SUGGESTIONS, cutoff=0.75)
    return list({by_city[city].iata: by_city[city] for city in close}.values())


def slips(code: str) -> list[str]:
    """Codes that differ from this one in two neighbours swapped, then those in one letter."""
    code = code.upper()
    swapped = [other.iata for other in _similar_codes(code)]
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    changed = [code[:i] + letter + code[i + 1 :] for i in range(len(code)) for letter in letters]
    return [other for other in dict.fromkeys([*swapped, *changed]) if other != code]
