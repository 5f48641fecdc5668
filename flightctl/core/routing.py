"""The timetable of one search: the flights that can take part in an itinerary from A to B on one date.

Pure: no I/O, no clock. ``build`` makes a timetable from plain rows and drops every flight that is in no itinerary of
one to three legs, whatever its seats and whatever the hour, so that a cached one stays right while seats are sold.
``routing_query.find`` answers from it; ``routing_pack`` turns it into bytes and back.

Units: instants are whole microseconds since 1970-01-01 UTC (what the tables keep, so nothing is rounded), connection
times whole microseconds, prices hundredths per seat.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Final, Literal, NamedTuple

Row = tuple[str, str, str, int, int, int]
"""flight id, source, destination, departure, arrival (microseconds since the epoch), price (hundredths)."""

Leg = tuple[str, str, str, int, int]
"""flight id, source, destination, departure, arrival (microseconds since the epoch)."""

SortKey = Literal["price", "duration", "departure"]

MAX_LEGS: Final = 3

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_MINUTE: Final = 60_000_000
"""Microseconds."""


@dataclass(frozen=True, slots=True)
class Timetable:
    """Columns, one entry per flight, in three contiguous blocks: first legs, middle legs, last legs.

    A flight's part follows from its airports, since no airport is visited twice: what leaves ``source`` can only be a
    first leg (a direct flight included), what otherwise enters ``destination`` only a last one, and the rest only the
    middle one of three. First legs are sorted by departure; middle and last ones by source, then departure, so that
    the flights leaving one airport within some hours are one slice.
    """

    source: str
    destination: str
    min_connection: int
    max_connection: int
    """The bounds it was pruned for, microseconds, inclusive; it answers for these and for any within."""
    first_count: int
    middle_count: int
    """The remaining flights are last legs."""
    ids: list[str]
    sources: list[str]
    destinations: list[str]
    departures: list[int]
    arrivals: list[int]
    prices: list[int]

    def __len__(self) -> int:
        return len(self.ids)

    def answers(self, min_connection: int, max_connection: int) -> bool:
        """Whether it holds every flight that a search with these bounds (microseconds) needs."""
        return self.min_connection <= min_connection and max_connection <= self.max_connection


class Query(NamedTuple):
    """What one search asks. ``now`` and the connection times are microseconds; ``page`` counts from 0."""

    seats: int
    max_hops: int
    """Legs at most, 1 to 3."""
    sort: SortKey
    desc: bool
    page: int
    size: int
    now: int
    """Since the epoch; every leg departs after it."""
    min_connection: int
    max_connection: int
    filters: "Filters | None" = None


class Filters(NamedTuple):
    """What else an itinerary must be. Airports are IATA codes in upper case."""

    via: frozenset[str] = frozenset()
    """It connects in each of these."""
    avoid: frozenset[str] = frozenset()
    """It connects in none of these."""
    carriers: tuple[str, ...] = ()
    """Each leg is flown by one of these, if there are any; a flight's id begins with its carrier."""
    departs: Callable[[int], bool] | None = None
    """Whether the first leg may depart then (microseconds since the epoch)."""
    max_price: int | None = None
    """Hundredths per seat, all legs together."""
    max_minutes: int | None = None
    """Whole minutes from the first departure to the last arrival."""

    @property
    def limited(self) -> bool:
        """Whether an itinerary may fail although each two of its legs pass."""
        return self.max_price is not None or self.max_minutes is not None

    def allows(self, timetable: Timetable, i: int) -> bool:
        """Whether a flight may be a leg of any itinerary that passes."""
        if timetable.sources[i] in self.avoid or timetable.destinations[i] in self.avoid:
            return False
        if self.max_price is not None and timetable.prices[i] > self.max_price:
            return False
        return not self.carriers or any(flown_by(timetable.ids[i], carrier) for carrier in self.carriers)

    def fits(self, timetable: Timetable, legs: Sequence[int]) -> bool:
        """Whether legs that connect are together within the limits."""
        if self.max_price is not None and sum(timetable.prices[i] for i in legs) > self.max_price:
            return False
        lasting = timetable.arrivals[legs[-1]] - timetable.departures[legs[0]]
        return self.max_minutes is None or lasting // _MINUTE <= self.max_minutes


def flown_by(flight_id: str, carrier: str) -> bool:
    """Whether a flight's id is that carrier's: its code, in upper case, and then the number."""
    end = len(carrier)
    return flight_id[:end].upper() == carrier and flight_id[end : end + 1].isdigit()


def to_microseconds(instant: datetime) -> int:
    """An aware datetime as microseconds since the epoch, exactly (a float timestamp would round)."""
    return (instant - _EPOCH) // _MICROSECOND


def to_instant(microseconds: int) -> datetime:
    """The aware UTC datetime of a timetable's time."""
    return _EPOCH + timedelta(microseconds=microseconds)


def build(
    source: str,
    destination: str,
    *,
    firsts: Iterable[Row],
    middles: Iterable[Row],
    lasts: Iterable[Row],
    min_connection: int,
    max_connection: int,
) -> Timetable:
    """The pruned timetable of the itineraries from ``source`` to ``destination``; ``ValueError`` on a negative price.

    ``firsts`` are the flights leaving ``source`` on the local date asked for. ``middles`` and ``lasts`` may hold any
    flights of any day: what cannot play that part is ignored, so one list can serve as both. Each is read once,
    ``firsts``, then ``lasts``, then ``middles``, and of the middle ones only what connects at both ends is kept, so
    that a generator over whole days of the world costs no memory. Bounds are microseconds, inclusive.
    """
    ends = (source, destination)
    starting = [row for row in firsts if row[1] == source and row[2] != source] if source != destination else []
    ending = [row for row in lasts if row[2] == destination and row[1] not in ends] if starting else []
    reached = times_by_airport((row[2], row[4]) for row in starting if row[2] != destination)
    left = times_by_airport((row[1], row[3]) for row in ending)
    shortest, longest = min_connection, max_connection
    # An airport in `reached` or `left` is neither end of the journey: only coming straight back is left to exclude.
    meeting = _meeting(middles if reached and left else (), 1, 3, reached, -longest, -shortest)
    onward_too = _meeting(meeting, 2, 4, left, shortest, longest)
    between = [row for row in onward_too if row[1] != row[2]]
    onward = times_by_airport((row[1], row[3]) for row in (*between, *ending))
    incoming = times_by_airport((row[2], row[4]) for row in (*between, *starting))
    direct = [row for row in starting if row[2] == destination]
    starting = [*direct, *_meeting(starting, 2, 4, onward, shortest, longest)]
    ending = list(_meeting(ending, 1, 3, incoming, -longest, -shortest))

    starting.sort(key=lambda row: (row[3], row[0]))
    between.sort(key=lambda row: (row[1], row[3], row[0]))
    ending.sort(key=lambda row: (row[1], row[3], row[0]))
    rows = starting + between + ending
    if any(row[5] < 0 for row in rows):
        raise ValueError("a flight's price is negative")
    return Timetable(
        source,
        destination,
        min_connection,
        max_connection,
        len(starting),
        len(between),
        [row[0] for row in rows],
        [row[1] for row in rows],
        [row[2] for row in rows],
        [row[3] for row in rows],
        [row[4] for row in rows],
        [row[5] for row in rows],
    )


def check_connection(legs: Sequence[Leg], min_connection: int, max_connection: int) -> str | None:
    """Why the legs, in this order, are no itinerary, in words for a user; None when they are one.

    Bounds are microseconds, inclusive. Whether the flights are active, in the future or have seats is not its business.
    """
    if not 1 <= len(legs) <= MAX_LEGS:
        return f"an itinerary has 1 to {MAX_LEGS} flights, not {len(legs)}"
    visited = {legs[0][1]}
    for flight_id, source, destination, _, _ in legs:
        if destination in visited:
            return f"flight {flight_id} from {source} returns to {destination}, which was visited before"
        visited.add(destination)
    for (before, _, at, _, arrival), (after, source, _, departure, _) in pairwise(legs):
        if source != at:
            return f"flight {after} leaves from {source}, but {before} arrives at {at}"
        wait = departure - arrival
        if wait < 0:
            return f"flight {after} leaves before {before} arrives"
        if wait < min_connection:
            return f"the connection from {before} to {after} is {_minutes(wait)}; at least {_minutes(min_connection)}"
        if wait > max_connection:
            return f"the connection from {before} to {after} is {_minutes(wait)}; at most {_minutes(max_connection)}"
    return None


def _minutes(microseconds: int) -> str:
    minutes, rest = divmod(microseconds, _MINUTE)
    return f"{minutes} min" if not rest else f"{minutes} min {rest / 1_000_000:g} s"


def times_by_airport(pairs: Iterable[tuple[str, int]]) -> dict[str, list[int]]:
    """The instants at each airport, ascending, of pairs of both."""
    times: defaultdict[str, list[int]] = defaultdict(list)
    for airport, time in pairs:
        times[airport].append(time)
    for values in times.values():
        values.sort()
    return dict(times)


def _meeting(
    rows: Iterable[Row],
    airport: Literal[1, 2],
    instant: Literal[3, 4],
    times: Mapping[str, Sequence[int]],
    low: int,
    high: int,
) -> Iterator[Row]:
    """The rows at whose ``airport`` something happens ``low`` to ``high`` after their ``instant``: columns, both."""
    for row in rows:
        there = times.get(row[airport])
        if there is not None:
            position = bisect_left(there, row[instant] + low)
            if position < len(there) and there[position] <= row[instant] + high:
                yield row
