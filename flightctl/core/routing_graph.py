"""What follows what in a timetable, for one query, and how many itineraries that makes.

Flights leaving one airport are a slice sorted by departure, so the last legs that follow a middle leg are a range found
by bisection, and the three-leg itineraries of a first leg are the sum of such ranges over the middle legs that follow
it: a difference of two prefix sums.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import NamedTuple

from flightctl.core.routing import Filters, Query, Timetable


class First(NamedTuple):
    """A usable first leg, and the slices of middle legs and of last legs that follow it (empty where none may)."""

    flight: int
    """Its index in the timetable."""
    direct: bool
    """It arrives at the destination; both slices are empty."""
    middle_low: int
    middle_high: int
    last_low: int
    last_high: int


class Graph(NamedTuple):
    """The usable flights, connected. ``middles`` and ``lasts`` are flight indices; slices are positions in them."""

    firsts: list[First]
    middles: list[int]
    """Those that a last leg follows."""
    middle_lows: list[int]
    middle_highs: list[int]
    """Per middle leg, the slice of last legs that follow it; never empty."""
    lasts: list[int]
    total: int
    """Itineraries, before the filters' limits on the whole of one."""


class _Departures:
    """Flights grouped by the airport they leave, each group sorted by departure."""

    def __init__(self, timetable: Timetable, flights: Sequence[int]) -> None:
        self._times = [timetable.departures[i] for i in flights]
        self._groups: dict[str, tuple[int, int]] = {}
        low = 0
        for high in range(1, len(flights) + 1):
            airport = timetable.sources[flights[low]]
            if high == len(flights) or timetable.sources[flights[high]] != airport:
                self._groups[airport] = (low, high)
                low = high

    def within(self, airport: str, earliest: int, latest: int) -> tuple[int, int]:
        """The slice that leaves ``airport`` between two instants, inclusive."""
        group = self._groups.get(airport)
        if group is None:
            return 0, 0
        low = bisect_left(self._times, earliest, *group)
        return low, bisect_right(self._times, latest, low, group[1])


def connect(timetable: Timetable, available: Sequence[int], query: Query) -> Graph:
    """Leave out flights that are full or gone or fail a filter, find what follows what, and count.

    Where an itinerary connects is known of a middle leg by its ends, and of two legs by the first one's, so that
    filters on airports leave slices whole, too.
    ``available`` has the seats of each flight of the timetable.
    """
    departures, arrivals, destinations = timetable.departures, timetable.arrivals, timetable.destinations
    seats, now, shortest, longest = query.seats, query.now, query.min_connection, query.max_connection
    filters = query.filters or Filters()
    via = filters.via
    middle_start = timetable.first_count
    last_start = middle_start + timetable.middle_count

    def usable(flights: Iterable[int]) -> list[int]:
        found = [i for i in flights if available[i] >= seats and departures[i] > now]
        return found if query.filters is None else [i for i in found if filters.allows(timetable, i)]

    lasts = usable(range(last_start, len(timetable))) if query.max_hops > 1 else []
    after = _Departures(timetable, lasts).within
    middles: list[int] = []
    middle_lows: list[int] = []
    middle_highs: list[int] = []
    for i in usable(range(middle_start, last_start)) if query.max_hops > 2 else ():
        if via and not via <= {timetable.sources[i], destinations[i]}:
            continue
        arrival = arrivals[i]
        low, high = after(destinations[i], arrival + shortest, arrival + longest)
        if low < high:
            middles.append(i)
            middle_lows.append(low)
            middle_highs.append(high)
    between = _Departures(timetable, middles).within
    counts = list(accumulate(map(int.__sub__, middle_highs, middle_lows), initial=0))

    total = 0
    firsts: list[First] = []
    for i in usable(range(middle_start)):
        if filters.departs is not None and not filters.departs(departures[i]):
            continue
        airport, earliest, latest = destinations[i], arrivals[i] + shortest, arrivals[i] + longest
        direct = airport == timetable.destination and not via
        middle_low, middle_high = between(airport, earliest, latest)
        last_low, last_high = after(airport, earliest, latest) if not via or via <= {airport} else (0, 0)
        itineraries = direct + last_high - last_low + counts[middle_high] - counts[middle_low]
        if itineraries:
            firsts.append(First(i, direct, middle_low, middle_high, last_low, last_high))
            total += itineraries
    return Graph(firsts, middles, middle_lows, middle_highs, lasts, total)
