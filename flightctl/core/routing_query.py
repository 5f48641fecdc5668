"""Answers from a timetable: how many itineraries there are, exactly, and one page of them, without making them all.

**Order.** Comparing itineraries is comparing sums of their legs' weights (``routing_weights``).

**Paging.** To have the k smallest sums it suffices to know a limit that at least k itineraries do not exceed. The best
itinerary of each first leg gives one; within it, the best of each pair of first and middle leg gives a lower one; what
is within that is enumerated as plain integers, and only the page itself (with its ties) as itineraries. Pages in the
second half are drawn from the other end.

**Limits** on the price or the duration of the whole leave no slice whole. Then the sums of all that fit are made, past
middle legs whose best end does not fit: a hundred times less than making the itineraries.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from math import inf
from typing import Final

from flightctl.core.model.itineraries import itinerary_identifier
from flightctl.core.routing import MAX_LEGS, Filters, Query, Timetable
from flightctl.core.routing_graph import Graph, connect
from flightctl.core.routing_weights import Weighed, weigh

_MINUTE: Final = 60_000_000
"""Microseconds."""

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
    if query.filters is not None and query.filters.limited:
        return _limited_page(timetable, graph, query, query.filters, begin) if graph.total else (0, [])
    end = min(begin + query.size, graph.total)
    if begin >= end:
        return graph.total, []
    return graph.total, _page(timetable, graph, query, begin, end)


def _page(timetable: Timetable, graph: Graph, query: Query, begin: int, end: int) -> list[tuple[int, ...]]:
    """Itineraries number ``begin`` to ``end`` in order; there are that many."""
    total = graph.total
    direction = 1 if begin + end <= total else -1
    weighed = weigh(timetable, graph, query, direction)
    if direction == 1:
        sums = _smallest(weighed, end)
        least, greatest = sums[begin], sums[end - 1]
        before = bisect_left(sums, least)
    else:
        sums = _smallest(weighed, total - begin)
        least, greatest = sums[total - end], sums[total - begin - 1]
        before = total - bisect_right(sums, greatest)
    ordered = _ordered(timetable, _between(weighed, least, greatest), direction)
    return ordered[begin - before : end - before]


def _limited_page(timetable: Timetable, graph: Graph, query: Query, filters: Filters, begin: int) -> Found:
    """As ``find``, where the graph has more than fits the limits of ``filters``."""
    weighed = weigh(timetable, graph, query, 1)
    sums = sorted(_fitting(timetable, weighed, filters))
    end = min(begin + query.size, len(sums))
    if begin >= end:
        return len(sums), []
    least, greatest = sums[begin], sums[end - 1]
    before = bisect_left(sums, least)
    found = (one for one in _between(weighed, least, greatest) if filters.fits(timetable, one[1]))
    return len(sums), _ordered(timetable, found, 1)[begin - before : end - before]


def _ordered(
    timetable: Timetable, found: Iterable[tuple[int, tuple[int, ...]]], direction: int
) -> list[tuple[int, ...]]:
    """Legs by weight, then identifier."""
    ids, source, destination = timetable.ids, timetable.source, timetable.destination
    ordered = sorted(
        (direction * weight, itinerary_identifier(tuple([ids[i] for i in legs]), source, destination), legs)
        for weight, legs in found
    )
    return [legs for _, _, legs in ordered]


def _fitting(timetable: Timetable, weighed: Weighed, filters: Filters) -> list[int]:
    """The sums of all itineraries within the limits, in no order."""
    graph, prices, arrivals = weighed.graph, timetable.prices, timetable.arrivals
    most = inf if filters.max_price is None else filters.max_price
    longest = inf if filters.max_minutes is None else (filters.max_minutes + 1) * _MINUTE - 1
    lows, highs = graph.middle_lows, graph.middle_highs
    last_prices, last_arrivals = [prices[i] for i in graph.lasts], [arrivals[i] for i in graph.lasts]
    slices = list(zip(lows, highs, strict=True))
    cheapest = [prices[i] + min(last_prices[a:b]) for i, (a, b) in zip(graph.middles, slices, strict=True)]
    soonest = [min(last_arrivals[a:b]) for a, b in slices]
    sums: list[int] = []
    for bundle in weighed.bundles:
        lasts = list(zip(bundle.lasts, last_prices, last_arrivals, strict=True))
        sums += [weight for weight, first in bundle.directs if filters.fits(timetable, (first.flight,))]
        for weight, first, _, _ in bundle.firsts:
            budget, latest = most - prices[first.flight], longest + timetable.departures[first.flight]
            ends = lasts[first.last_low : first.last_high]
            sums += [weight + last for last, price, arrival in ends if price <= budget and arrival <= latest]
            for j in range(first.middle_low, first.middle_high):
                if cheapest[j] <= budget and soonest[j] <= latest:
                    both, rest = weight + weighed.middles[j], budget - prices[graph.middles[j]]
                    ends = lasts[lows[j] : highs[j]]
                    sums += [both + last for last, price, arrival in ends if price <= rest and arrival <= latest]
    return sums


def _smallest(weighed: Weighed, count: int) -> list[int]:
    """The sums, ascending, of all itineraries within some limit that at least ``count`` of them do not exceed."""
    limit = _limit(weighed, count)
    lows, highs, middles = weighed.graph.middle_lows, weighed.graph.middle_highs, weighed.middles
    sums: list[int] = []
    for bundle in weighed.bundles:
        lasts, onward = bundle.lasts, bundle.onward
        sums += [weight for weight, _ in bundle.directs if weight <= limit]
        for weight, first, least_last, least_onward in bundle.firsts:
            rest = limit - weight
            if least_last <= rest:
                sums += [weight + last for last in lasts[first.last_low : first.last_high] if last <= rest]
            if least_onward <= rest:
                for j in range(first.middle_low, first.middle_high):
                    if onward[j] <= rest:
                        both = weight + middles[j]
                        sums += [both + last for last in lasts[lows[j] : highs[j]] if both + last <= limit]
    sums.sort()
    return sums


def _limit(weighed: Weighed, count: int) -> float:
    """A sum that at least ``count`` itineraries do not exceed, close to the least such; infinite if most are wanted."""
    if count * 2 > weighed.graph.total:
        return inf
    best: list[float] = []
    for bundle in weighed.bundles:
        best += [weight for weight, _ in bundle.directs]
        best += [weight + last for weight, _, last, _ in bundle.firsts if last < inf]
        best += [weight + onward for weight, _, _, onward in bundle.firsts if onward < inf]
    limit = _nth(best, count, inf)
    best = []
    for bundle in weighed.bundles:
        lasts, onward = bundle.lasts, bundle.onward
        best += [weight for weight, _ in bundle.directs if weight <= limit]
        for weight, first, least_last, least_onward in bundle.firsts:
            rest = limit - weight
            if least_last <= rest:
                best += [weight + last for last in lasts[first.last_low : first.last_high] if last <= rest]
            if least_onward <= rest:
                best += [weight + pair for pair in onward[first.middle_low : first.middle_high] if pair <= rest]
    return _nth(best, count, limit)


def _nth(values: list[float], count: int, otherwise: float) -> float:
    """The ``count``-th least value; ``otherwise`` when there are fewer."""
    if count > len(values):
        return otherwise
    values.sort()
    return values[count - 1]


def _between(weighed: Weighed, least: int, greatest: int) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Weight and legs of the itineraries whose sum is ``least`` to ``greatest``, in no order."""
    graph = weighed.graph
    for bundle in weighed.bundles:
        lasts, onward = bundle.lasts, bundle.onward
        for weight, first in bundle.directs:
            if least <= weight <= greatest:
                yield weight, (first.flight,)
        for weight, first, least_last, least_onward in bundle.firsts:
            rest = greatest - weight
            for k in range(first.last_low, first.last_high) if least_last <= rest else ():
                if least <= weight + lasts[k] <= greatest:
                    yield weight + lasts[k], (first.flight, graph.lasts[k])
            for j in range(first.middle_low, first.middle_high) if least_onward <= rest else ():
                if onward[j] <= rest:
                    both = weight + weighed.middles[j]
                    for k in range(graph.middle_lows[j], graph.middle_highs[j]):
                        if least <= both + lasts[k] <= greatest:
                            yield both + lasts[k], (first.flight, graph.middles[j], graph.lasts[k])
