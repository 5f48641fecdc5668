"""One airport's flights of one day as compact bytes, and those of them that a question asks for.

``pack`` is for whoever packs days; ``unpack`` makes no row before it is asked for: of a hub's flights a search uses one
in ten.

Layout, compressed by zlib (whose checksum tells damage): the numbers of flights and of airports at their other ends,
and the length of these airports' text; departures, durations and prices as 64-bit little-endian columns; how many
flights each of the airports has; the airports, a line each; the flight ids, a line each, with an empty one between
airports. Flights are ordered by other end, then departure.
"""

import struct
import sys
import zlib
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, groupby, pairwise
from typing import Final, Literal, NamedTuple

from flightctl.core.routing import Row

End = Literal[1, 2]
"""Which of a flight's airports: a column of ``Row``."""
SOURCE: Final[End] = 1
DESTINATION: Final[End] = 2

_HEADER: Final = struct.Struct("<III")
_SEPARATOR: Final = "\n"
"""Never part of a flight id: the database tells of flights in lines."""
_BREAK: Final = _SEPARATOR * 2


class AirportDay(NamedTuple):
    """The airport's flights, a slice for each airport at their other ends; columns have one entry per flight.

    Instants are microseconds since the epoch.
    """

    airport: str
    other: End
    slices: Mapping[str, tuple[int, int, str]]
    """Begin and end, and the ids as text."""
    departures: "array[int]"
    """Ascending within each slice."""
    durations: "array[int]"
    """Microseconds."""
    prices: "array[int]"
    """Hundredths."""

    def departing(self, other: str, earliest: int, latest: int) -> "array[int]":
        """The departures to or from ``other`` between two instants, inclusive; ascending."""
        low, high = self._within(other, earliest, latest)
        return self.departures[low:high]

    def rows(self, other: str, earliest: int, latest: int) -> Iterator[Row]:
        """The flights to or from ``other`` that depart between two instants, inclusive."""
        low, high = self._within(other, earliest, latest)
        return self._rows(other, range(low, high))

    def connecting(
        self,
        arrivals: Mapping[str, Sequence[int]],
        departures: Mapping[str, Sequence[int]],
        shortest: int,
        longest: int,
    ) -> Iterator[Row]:
        """The flights that depart ``shortest`` to ``longest`` after one of the ascending ``arrivals`` at their source,
        and arrive so long before one of the ``departures`` at their destination."""
        leaving = self.other == DESTINATION
        for other in self.slices.keys() & (departures if leaving else arrivals).keys():
            source, destination = (self.airport, other) if leaving else (other, self.airport)
            before, after = arrivals[source], departures[destination]
            found = []
            for i in range(*self._within(other, before[0] + shortest, before[-1] + longest)):
                departure = self.departures[i]
                position = bisect_left(before, departure - longest)
                if position < len(before) and before[position] <= departure - shortest:
                    arrival = departure + self.durations[i]
                    position = bisect_left(after, arrival + shortest)
                    if position < len(after) and after[position] <= arrival + longest:
                        found.append(i)
            yield from self._rows(other, found)

    def _within(self, other: str, earliest: int, latest: int) -> tuple[int, int]:
        begin, end, _ = self.slices[other]
        low = bisect_left(self.departures, earliest, begin, end)
        return low, bisect_right(self.departures, latest, low, end)

    def _rows(self, other: str, flights: Sequence[int]) -> Iterator[Row]:
        if not flights:
            return
        source, destination = (self.airport, other) if self.other == DESTINATION else (other, self.airport)
        begin, _, text = self.slices[other]
        ids = text.split(_SEPARATOR)
        for i in flights:
            departure = self.departures[i]
            yield ids[i - begin], source, destination, departure, departure + self.durations[i], self.prices[i]


def pack(flights: Iterable[Row], other: End) -> bytes:
    """The flights of one airport, whose other end is the column ``other``. ``ValueError`` for what cannot be kept."""
    rows = sorted(flights, key=lambda row: (row[other], row[3], row[0]))
    groups = {airport: [row[0] for row in group] for airport, group in groupby(rows, key=lambda row: row[other])}
    if any(not text or _SEPARATOR in text for text in (*groups, *(row[0] for row in rows))):
        raise ValueError("a flight id or airport is empty or has two lines")
    columns = (*(row[3] for row in rows), *(row[4] - row[3] for row in rows), *(row[5] for row in rows))
    airports = _SEPARATOR.join(groups).encode()
    try:
        body = b"".join(
            (
                _HEADER.pack(len(rows), len(groups), len(airports)),
                struct.pack(f"<{len(columns)}q", *columns),
                struct.pack(f"<{len(groups)}I", *map(len, groups.values())),
                airports,
                _BREAK.join(_SEPARATOR.join(ids) for ids in groups.values()).encode(),
            )
        )
    except struct.error as error:
        raise ValueError(f"the flights cannot be packed: {error}") from error
    return zlib.compress(body, 1)  # the next levels gain a tenth and take twice as long


def unpack(airport: str, other: End, data: bytes) -> AirportDay:
    """The airport's flights, which ``pack`` made ``data`` of. ``ValueError`` for any other bytes."""
    try:
        body = zlib.decompress(data)
        flights, airports, length = _HEADER.unpack_from(body)
        counts_at = _HEADER.size + 24 * flights
        counts = struct.unpack_from(f"<{airports}I", body, counts_at)
    except (struct.error, zlib.error, TypeError) as error:  # an embedded database keeps text in any column
        raise ValueError(f"not a packed airport: {error}") from error
    names_at = counts_at + 4 * airports
    names = body[names_at : names_at + length].decode().split(_SEPARATOR) if airports else []
    ids = body[names_at + length :].decode().split(_BREAK) if airports else []
    if len(names) != airports or len(ids) != airports or sum(counts) != flights:
        raise ValueError("a packed airport has inconsistent counts")
    bounds = pairwise(accumulate(counts, initial=0))
    slices = {name: (begin, end, text) for name, (begin, end), text in zip(names, bounds, ids, strict=True)}
    return AirportDay(airport, other, slices, *(_column(body, number, flights) for number in range(3)))


def _column(body: bytes, number: int, flights: int) -> "array[int]":
    start = _HEADER.size + 8 * flights * number
    column = array("q", body[start : start + 8 * flights])
    if sys.byteorder == "big":
        column.byteswap()
    return column
