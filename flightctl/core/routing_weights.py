"""What legs weigh, so that comparing itineraries is comparing sums.

All of the order but the identifier (key, price, whole minutes, departure) is packed into one integer, a *sum over
the legs*: price is one, duration is the last arrival minus the first departure, departure is the rank of the first leg.
The least sum over a slice is therefore an exact bound.
"""

from collections.abc import Sequence
from math import inf
from typing import Final, NamedTuple

from flightctl.core.routing import MAX_LEGS, Query, SortKey, Timetable
from flightctl.core.routing_graph import First, Graph

_MINUTE: Final = 60_000_000
"""Microseconds."""

_ORDER: Final[dict[SortKey, tuple[SortKey, SortKey, SortKey]]] = {
    "price": ("price", "duration", "departure"),
    "duration": ("duration", "price", "departure"),
    "departure": ("departure", "price", "duration"),
}


class _Strides(NamedTuple):
    """What a hundredth, a minute and a later departure weigh."""

    price: int
    minute: int
    rank: int
    ranks: dict[int, int]
    """Departure of a first leg to its place among them."""
    shortest: int
    """Minutes; no itinerary is shorter. Durations count from it, since only what is never negative can be packed."""


class Bundle(NamedTuple):
    """First legs, with their weights, and the weights of what follows them.

    Their departures lie equally far within their minutes: only then is floor((arrival - departure) / minute) a
    difference of two integers that each belong to one leg. Flights that depart on the minute are a single bundle.
    """

    firsts: list[tuple[int, First, float, float]]
    """With the least of the last legs that follow at once, and of ``onward``; infinite where there is none."""
    directs: list[tuple[int, First]]
    """With the weight of the whole itinerary."""
    lasts: list[int]
    onward: list[int]
    """Per middle leg: its weight and the least of the last legs that follow it."""


class Weighed(NamedTuple):
    """A graph whose itineraries' order is that of the sums of their legs' weights."""

    graph: Graph
    middles: list[int]
    bundles: list[Bundle]


def _strides(timetable: Timetable, graph: Graph, query: Query, direction: int) -> _Strides:
    """Each is wider than all below it can be, so that sums compare like the tuples they stand for."""
    departures = {timetable.departures[first.flight] for first in graph.firsts}
    landings = [timetable.arrivals[i] for i in graph.lasts]
    landings += [timetable.arrivals[first.flight] for first in graph.firsts if first.direct]
    shortest = (min(landings) - max(departures)) // _MINUTE
    widths = {
        "price": MAX_LEGS * max(timetable.prices) + 1,
        "duration": (max(landings) - min(departures)) // _MINUTE - shortest + 1,
        "departure": len(departures),
    }
    stride = direction
    strides = {}
    for key in reversed(_ORDER[query.sort]):
        strides[key] = stride
        stride *= widths[key]
    if query.desc:
        strides[query.sort] *= -1
    ranks = {departure: rank for rank, departure in enumerate(sorted(departures))}
    return _Strides(strides["price"], strides["duration"], strides["departure"], ranks, shortest)


def weigh(timetable: Timetable, graph: Graph, query: Query, direction: int) -> Weighed:
    """Weights for the query's order; ``direction`` -1 turns all of it round."""
    strides = _strides(timetable, graph, query, direction)
    middles = [strides.price * timetable.prices[i] for i in graph.middles]
    bundles: dict[int, Bundle] = {}
    for first in graph.firsts:
        departure = timetable.departures[first.flight]
        minute, within = divmod(departure, _MINUTE)
        if within not in bundles:
            bundles[within] = _bundle(timetable, graph, strides, middles, within)
        bundle = bundles[within]
        weight = strides.price * timetable.prices[first.flight] + strides.rank * strides.ranks[departure]
        weight -= strides.minute * (minute + strides.shortest)
        if first.direct:
            landing = strides.minute * ((timetable.arrivals[first.flight] - within) // _MINUTE)
            bundle.directs.append((weight + landing, first))
        else:
            last = min(bundle.lasts[first.last_low : first.last_high], default=inf)
            onward = min(bundle.onward[first.middle_low : first.middle_high], default=inf)
            bundle.firsts.append((weight, first, last, onward))
    return Weighed(graph, middles, list(bundles.values()))


def _bundle(timetable: Timetable, graph: Graph, strides: _Strides, middles: Sequence[int], within: int) -> Bundle:
    """Still without first legs; ``within``: the microseconds of their departures past the minute."""
    prices, arrivals, by_price, by_minute = timetable.prices, timetable.arrivals, strides.price, strides.minute
    lasts = [by_price * prices[i] + by_minute * ((arrivals[i] - within) // _MINUTE) for i in graph.lasts]
    followed = zip(middles, graph.middle_lows, graph.middle_highs, strict=True)
    return Bundle([], [], lasts, [weight + min(lasts[low:high]) for weight, low, high in followed])
