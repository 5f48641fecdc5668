"""The filters of a search, from what was typed to what routing asks of flights and itineraries."""

import re
from collections.abc import Callable, Iterable
from typing import Final

from flightctl.core.amounts import parse_amount
from flightctl.core.durations import parse_duration
from flightctl.core.errors import ValidationError
from flightctl.core.model.itineraries import SearchFilters
from flightctl.core.network import airport, zone
from flightctl.core.routing import MAX_LEGS, Filters, to_instant

_HOURS_AND_MINUTES: Final = re.compile(r"(\d{1,3})h(\d{1,2})m?", re.ASCII)
_CLOCKS: Final = re.compile(r"(\d{1,2}):?(\d{2})[-–](\d{1,2}):?(\d{2})", re.ASCII)
_CARRIER: Final = re.compile(r"(?=.*[A-Z])[A-Z0-9]{2}[A-Z]?", re.ASCII)
_DAY_MINUTES: Final = 24 * 60


def parse(typed: SearchFilters, source: str, destination: str) -> Filters | None:
    """None where nothing was asked for. ``source`` and ``destination`` are codes of airports.

    Raises UnknownAirportError, ValidationError.
    """
    if typed == SearchFilters():
        return None
    via = _airports(typed.via, "--via", source, destination)
    if len(via) >= MAX_LEGS:
        raise ValidationError(
            f"--via names {len(via)} airports; an itinerary connects in at most {MAX_LEGS - 1}",
            hint="All of them are visited: ask for one at a time.",
        )
    return Filters(
        via=via,
        avoid=_airports(typed.avoid, "--avoid", source, destination),
        carriers=tuple(dict.fromkeys(map(_carrier, _each(typed.carriers)))),
        departs=None if typed.depart_between is None else _departs(typed.depart_between, source),
        max_price=None if typed.max_price is None else int(parse_amount(typed.max_price, "--max-price") * 100),
        max_minutes=None if typed.max_duration is None else _minutes(typed.max_duration),
    )


def _each(values: Iterable[str]) -> list[str]:
    """Options may be repeated, and each may be a list with commas."""
    return [part.strip() for value in values for part in value.split(",")]


def _airports(values: Iterable[str], what: str, *ends: str) -> frozenset[str]:
    codes = frozenset(airport(code).iata for code in _each(values))
    for end in ends:
        if end in codes:
            raise ValidationError(
                f"{what} {end} is an end of the journey", hint=f"{what} names airports to connect in."
            )
    return codes


def _carrier(text: str) -> str:
    carrier = text.upper()
    if not _CARRIER.fullmatch(carrier):
        raise ValidationError(
            f"--carrier {text[:40]!r} is not an airline's code", hint="Write it as flight ids begin, e.g. 6E."
        )
    return carrier


def _minutes(text: str) -> int:
    """Whole minutes, as durations are shown."""
    joined = "".join(text.lower().split())
    both = _HOURS_AND_MINUTES.fullmatch(joined)
    try:
        minutes = int(both[1]) * 60 + int(both[2]) if both else int(parse_duration(joined) // 60)
    except ValidationError:
        minutes = 0
    if minutes < 1:
        raise ValidationError(
            f"--max-duration {text[:40]!r} is not a duration of a minute or more", hint="Write it as 8h30m, 8h or 90m."
        )
    return minutes


def _departs(text: str, source: str) -> Callable[[int], bool]:
    """Whether an instant's local time at ``source`` lies between the two, both of them included."""
    match = _CLOCKS.fullmatch("".join(text.split()))
    first, last = (int(match[1]) * 60 + int(match[2]), int(match[3]) * 60 + int(match[4])) if match else (-1, -1)
    if not match or max(int(match[2]), int(match[4])) > 59 or first >= _DAY_MINUTES or last > _DAY_MINUTES:
        raise ValidationError(
            f"--depart-between {text[:40]!r} is not two times of day",
            hint="Write it as 06:00-10:00, or 22:00-02:00 for late and early ones.",
        )
    local = zone(source)

    def departs(microseconds: int) -> bool:
        at = to_instant(microseconds).astimezone(local)
        shown = at.hour * 60 + at.minute
        return first <= shown <= last if first <= last else shown >= first or shown <= last

    return departs
