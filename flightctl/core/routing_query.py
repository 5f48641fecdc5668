"""Answers from a timetable: how many itineraries there are, exactly, and one page of them, without making them all.

**Order.** All of the order but the identifier (key, price, whole minutes, departure) is packed into one integer that is
a *sum over the legs*: price is one, duration is the last arrival minus the first departure, departure is the rank of
the first leg. Comparing itineraries is comparing sums, and the least sum over a slice is an exact bound.

**Paging.** To have the k smallest sums it suffices to know a limit that at least k itineraries do not exceed. The best
itinerary of each first leg gives one; within it, the best of each pair of first and middle leg gives a lower one; what
is within that is enumerated as plain integers, and only the page itself (with its ties) as itineraries. Pages in the
second half are drawn from the other end.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf
from typing import Final

from flightctl.core.model import itinerary_identifier
from flightctl.core.routing import MAX_LEGS, Query, SortKey, Timetable
from flightctl.core.routing_graph import First, Graph, connect

_MINUTE: Final = 60_000_000
"""Microseconds."""

_ORDER: Final[dict[SortKey, tuple[SortKey, SortKey, SortKey]]] = {
    "price": ("price", "duration", "departure"),
    "duration": ("duration", "price", "departure"),
    "departure": ("departure", "price", "duration"),
}


Found = tuple[int, list[tuple[int, ...]]]
"""Number of all itineraries, and the page: each itinerary as the indices of its flights in the timetable."""


def find(timetable: Timetable, available: Sequence[int], query: Query) -> Found:
    """All valid itineraries counted, and one page of them in order.

    ``available`` has the seats of each flight of the timetable, 0 for one that is not ACTIVE. ``ValueError`` when it
    does not match the timetable, or when the query is out of range or asks for connections the timetable was not built
    for.
    """
    if len(available) != len(timetable):
        raise ValueError(f"{len(available)} seat counts for {len(timetable)} flights")
    if not timetable.answers(query.min_connection, query.max_connection):
        raise ValueError("the timetable was built for narrower connection times")
    if not (1 <= query.max_hops <= MAX_LEGS and query.page >= 0 and query.size >= 1):
        raise ValueError("max_hops is 1 to 3, page at least 0, size at least 1")
    graph = connect(timetable, available, query)
    begin = query.page * query.size
    end = min(begin + query.size, graph.total)
    if begin >= end:
        return graph.total, []
    return graph.total, _page(timetable, graph, query, begin, end)


@dataclass(frozen=True, slots=True)
class _Strides:
    """What a hundredth, a minute and a later departure weigh."""

    price: int
    minute: int
    rank: int
    ranks: dict[int, int]
    """Departure of a first leg to its place among them."""
    shortest: int
    """Minutes; no itinerary is shorter. Durations count from it, since only what is never negative can be packed."""


@dataclass(frozen=True, slots=True)
class _Bundle:
    """First legs, with their weights, and the weights of what follows them.

    Their departures lie equally far within their minutes: only then is floor((arrival - departure) / minute) a
    difference of two integers that each belong to one leg. Flights that depart on the minute are a single bundle.
    """

    firsts: list[tuple[int, First]]
    directs: list[tuple[int, First]]
    """With the weight of the whole itinerary."""
    lasts: list[int]
    onward: list[int]
    """Per middle leg: its weight and the least of the last legs that follow it."""


@dataclass(frozen=True, slots=True)
class _Weighed:
    """A graph whose itineraries' order is that of the sums of their legs' weights."""

    graph: Graph
    middles: list[int]
    bundles: list[_Bundle]


def _strides(timetable: Timetable, graph: Graph, query: Query, direction: int) -> _Strides:
    """Each is wider than all below it can be, so that sums compare like the tuples they stand for."""
    departures = {timetable.departures[first.index] for first in graph.firsts}
    landings = [timetable.arrivals[i] for i in graph.lasts]
    landings += [timetable.arrivals[first.index] for first in graph.firsts if first.direct]
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


def _weigh(timetable: Timetable, graph: Graph, query: Query, direction: int) -> _Weighed:
    """Weights for the query's order; ``direction`` -1 turns all of it round."""
    strides = _strides(timetable, graph, query, direction)
    middles = [strides.price * timetable.prices[i] for i in graph.middles]
    bundles: dict[int, _Bundle] = {}
    for first in graph.firsts:
        departure = timetable.departures[first.index]
        minute, within = divmod(departure, _MINUTE)
        if within not in bundles:
            bundles[within] = _bundle(timetable, graph, strides, middles, within)
        bundle = bundles[within]
        weight = strides.price * timetable.prices[first.index] + strides.rank * strides.ranks[departure]
        weight -= strides.minute * (minute + strides.shortest)
        if first.direct:
            landing = strides.minute * ((timetable.arrivals[first.index] - within) // _MINUTE)
            bundle.directs.append((weight + landing, first))
        else:
            bundle.firsts.append((weight, first))
    return _Weighed(graph, middles, list(bundles.values()))


def _bundle(timetable: Timetable, graph: Graph, strides: _Strides, middles: Sequence[int], within: int) -> _Bundle:
    """Still without first legs; ``within``: the microseconds of their departures past the minute."""
    prices, arrivals, by_price, by_minute = timetable.prices, timetable.arrivals, strides.price, strides.minute
    lasts = [by_price * prices[i] + by_minute * ((arrivals[i] - within) // _MINUTE) for i in graph.lasts]
    followed = zip(middles, graph.middle_lows, graph.middle_highs, strict=True)
    return _Bundle([], [], lasts, [weight + min(lasts[low:high]) for weight, low, high in followed])


def _page(timetable: Timetable, graph: Graph, query: Query, begin: int, end: int) -> list[tuple[int, ...]]:
    """Itineraries number ``begin`` to ``end`` in order; there are that many."""
    total = graph.total
    direction = 1 if begin + end <= total else -1
    weighed = _weigh(timetable, graph, query, direction)
    if direction == 1:
        sums = _smallest(weighed, end)
        least, greatest = sums[begin], sums[end - 1]
        before = bisect_left(sums, least)
    else:
        sums = _smallest(weighed, total - begin)
        least, greatest = sums[total - end], sums[total - begin - 1]
        before = total - bisect_right(sums, greatest)
    ids, source, destination = timetable.ids, timetable.source, timetable.destination
    ordered = sorted(
        (direction * weight, itinerary_identifier(tuple([ids[i] for i in legs]), source, destination), legs)
        for weight, legs in _between(weighed, least, greatest)
    )
    return [legs for _, _, legs in ordered[begin - before : end - before]]


def _smallest(weighed: _Weighed, count: int) -> list[int]:
    """The sums, ascending, of all itineraries within some limit that at least ``count`` of them do not exceed."""
    limit = _limit(weighed, count)
    lows, highs, middles = weighed.graph.middle_lows, weighed.graph.middle_highs, weighed.middles
    sums: list[int] = []
    for bundle in weighed.bundles:
        lasts, onward = bundle.lasts, bundle.onward
        sums += [weight for weight, _ in bundle.directs if weight <= limit]
        for weight, first in bundle.firsts:
            rest = limit - weight
            sums += [weight + last for last in lasts[first.last_low : first.last_high] if last <= rest]
            for j in range(first.middle_low, first.middle_high):
                if onward[j] <= rest:
                    both = weight + middles[j]
                    sums += [both + last for last in lasts[lows[j] : highs[j]] if both + last <= limit]
    sums.sort()
    return sums


def _limit(weighed: _Weighed, count: int) -> float:
    """A sum that at least ``count`` itineraries do not exceed, close to the least such; infinite if most are wanted."""
    if count * 2 > weighed.graph.total:
        return inf
    best: list[int] = []
    for bundle in weighed.bundles:
        lasts, onward = bundle.lasts, bundle.onward
        best += [weight for weight, _ in bundle.directs]
        for weight, first in bundle.firsts:
            if first.last_low < first.last_high:
                best.append(weight + min(lasts[first.last_low : first.last_high]))
            if first.middle_low < first.middle_high:
                best.append(weight + min(onward[first.middle_low : first.middle_high]))
    limit = _nth(best, count, inf)
    best = []
    for bundle in weighed.bundles:
        lasts, onward = bundle.lasts, bundle.onward
        best += [weight for weight, _ in bundle.directs if weight <= limit]
        for weight, first in bundle.firsts:
            rest = limit - weight
            best += [weight + last for last in lasts[first.last_low : first.last_high] if last <= rest]
            best += [weight + pair for pair in onward[first.middle_low : first.middle_high] if pair <= rest]
    return _nth(best, count, limit)


def _nth(values: list[int], count: int, otherwise: float) -> float:
    """The ``count``-th least value; ``otherwise`` when there are fewer."""
    if count > len(values):
        return otherwise
    values.sort()
    return values[count - 1]


def _between(weighed: _Weighed, least: int, greatest: int) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Weight and legs of the itineraries whose sum is ``least`` to ``greatest``, in no order."""
    graph = weighed.graph
    for bundle in weighed.bundles:
        lasts, onward = bundle.lasts, bundle.onward
        for weight, first in bundle.directs:
            if least <= weight <= greatest:
                yield weight, (first.index,)
        for weight, first in bundle.firsts:
            rest = greatest - weight
            for k in range(first.last_low, first.last_high):
                if least <= weight + lasts[k] <= greatest:
                    yield weight + lasts[k], (first.index, graph.lasts[k])
            for j in range(first.middle_low, first.middle_high):
                if onward[j] <= rest:
                    both = weight + weighed.middles[j]
                    for k in range(graph.middle_lows[j], graph.middle_highs[j]):
                        if least <= both + lasts[k] <= greatest:
                            yield both + lasts[k], (first.index, graph.middles[j], graph.lasts[k])
