"""A timetable as compact bytes, for a cache, and back.

The reader trusts nothing: whatever bytes it is given, it returns a timetable that ``routing_query.find`` can work on or
raises ``ValueError``, and it allocates no more than the bytes can stand for.

Layout, little-endian: magic, CRC-32 of all that follows, length of the body, and the body compressed. The body is the
bounds, the counts and text lengths; departures, arrivals and prices as 64-bit columns; the airports that a flight's
part does not imply as indices into the airport table; that table and the flight ids, a line each.
Columns of full width compress to a third, so a narrower encoding would gain little and cost more to read back.
"""

import struct
import zlib
from collections.abc import Sequence
from typing import Final

from flightctl.core.routing import Timetable

_MAGIC: Final = b"FRT2"
_FRAME: Final = struct.Struct("<4sII")
_HEADER: Final = struct.Struct("<qq5I")
_CHECKED_FROM: Final = 8
"""Offset of the first byte under the checksum."""
_MAX_BODY: Final = 64 * 2**20
"""Bytes. The largest pair of the world has half a megabyte; a claim beyond this is damage."""
_SEPARATOR: Final = "\n"
"""Never part of a flight id: the database tells of flights in lines."""
_EARLIEST: Final = -62_135_596_800_000_000
_LATEST: Final = 253_402_300_799_999_999
"""Microseconds since the epoch of the years 1 and 9999, what a ``datetime`` can show."""

_SPAN: Final = 2**59
"""More than the microseconds between those."""


def pack(timetable: Timetable) -> bytes:
    """Bytes that ``unpack`` turns into an equal timetable. ``ValueError`` for ids or numbers that cannot be kept."""
    t = timetable
    first, last = t.first_count, t.first_count + t.middle_count
    airports = [t.source, t.destination]
    airports += sorted({*t.sources, *t.destinations} - {t.source, t.destination})
    number = {airport: i for i, airport in enumerate(airports)}
    implied = [*t.destinations[:first], *t.sources[first:last], *t.destinations[first:last], *t.sources[last:]]
    if any(_SEPARATOR in text for text in (*t.ids, *airports)):
        raise ValueError("a flight id or airport has two lines")
    texts = [_SEPARATOR.join(airports).encode(), _SEPARATOR.join(t.ids).encode()]
    try:
        body = b"".join(
            (
                _HEADER.pack(
                    t.min_connection, t.max_connection, first, t.middle_count, len(t) - last, *map(len, texts)
                ),
                struct.pack(f"<{3 * len(t)}q", *t.departures, *t.arrivals, *t.prices),
                struct.pack(f"<{len(implied)}H", *(number[airport] for airport in implied)),
                *texts,
            )
        )
    except struct.error as error:
        raise ValueError(f"the timetable cannot be packed: {error}") from error
    if len(body) > _MAX_BODY:
        raise ValueError("the timetable is too large to pack")
    # The lowest level: the next ones gain a tenth and take twice as long.
    compressed = zlib.compress(body, 1)
    checksum = zlib.crc32(compressed, zlib.crc32(struct.pack("<I", len(body))))
    return _FRAME.pack(_MAGIC, checksum, len(body)) + compressed


def unpack(data: bytes) -> Timetable:
    """The timetable that ``pack`` was given; ``ValueError`` for any other bytes."""
    try:
        return _read(_body(data))
    except (struct.error, zlib.error) as error:
        raise ValueError(f"not a packed timetable: {error}") from error


def _body(data: bytes) -> bytes:
    magic, checksum, length = _FRAME.unpack_from(data)
    if magic != _MAGIC:
        raise ValueError("not a packed timetable")
    if checksum != zlib.crc32(memoryview(data)[_CHECKED_FROM:]):
        raise ValueError("a packed timetable was damaged")
    if length > _MAX_BODY:
        raise ValueError("a packed timetable claims to be too large")
    reader = zlib.decompressobj()
    body = reader.decompress(memoryview(data)[_FRAME.size :], length + 1)
    if len(body) != length or not reader.eof or reader.unused_data:
        raise ValueError("a packed timetable has the wrong length")
    return body


def _read(body: bytes) -> Timetable:
    shortest, longest, first, middle, last, airport_bytes, id_bytes = _HEADER.unpack_from(body)
    flights = first + middle + last
    implied = flights + middle
    columns_at = _HEADER.size
    implied_at = columns_at + 24 * flights
    airports_at = implied_at + 2 * implied
    ids_at = airports_at + airport_bytes
    if ids_at + id_bytes != len(body):
        raise ValueError("a packed timetable has inconsistent counts")
    departures, arrivals, prices = (
        list(struct.unpack_from(f"<{flights}q", body, columns_at + 8 * flights * column)) for column in range(3)
    )
    numbers = struct.unpack_from(f"<{implied}H", body, implied_at)
    airports = body[airports_at:ids_at].decode().split(_SEPARATOR)
    ids = body[ids_at:].decode().split(_SEPARATOR) if flights else []
    if len(ids) != flights or not all(ids):
        raise ValueError("a packed timetable has missing ids")
    onto = first + middle
    _check_airports(airports, numbers, first, middle)
    _check_numbers(departures, arrivals, prices)
    _check_order([0] * first, departures[:first])
    _check_order(numbers[first:onto], departures[first:onto])
    _check_order(numbers[onto + middle :], departures[onto:])
    source, destination = airports[:2]
    names = [airports[number] for number in numbers]
    return Timetable(
        source,
        destination,
        shortest,
        longest,
        first,
        middle,
        ids,
        [source] * first + names[first:onto] + names[onto + middle :],
        names[:first] + names[onto : onto + middle] + [destination] * last,
        departures,
        arrivals,
        prices,
    )


def _check_airports(airports: Sequence[str], numbers: Sequence[int], first: int, middle: int) -> None:
    """Each flight's airports suit its part: 0 is the source, 1 the destination, and those are not passed through."""
    if len(airports) < 2 or not all(airports) or (numbers and len(set(airports)) != len(airports)):
        raise ValueError("a packed timetable has a bad airport table")
    if not numbers:
        return
    inner = numbers[first:]
    if max(numbers) >= len(airports) or min(numbers) < 1 or min(inner, default=2) < 2:
        raise ValueError("a packed timetable has an impossible airport")
    if any(map(int.__eq__, inner[:middle], inner[middle : 2 * middle])):
        raise ValueError("a packed timetable has a flight that goes nowhere")


def _check_order(groups: Sequence[int], departures: Sequence[int]) -> None:
    """Flights of one airport stand together and by departure: slices are found by bisection."""
    keys = [group * _SPAN + departure for group, departure in zip(groups, departures, strict=True)]
    if sorted(keys) != keys:
        raise ValueError("a packed timetable is out of order")


def _check_numbers(departures: Sequence[int], arrivals: Sequence[int], prices: Sequence[int]) -> None:
    times = (min(departures), min(arrivals), max(departures), max(arrivals)) if departures else (0,)
    if min(times) < _EARLIEST or max(times) > _LATEST or min(prices, default=0) < 0:
        raise ValueError("a packed timetable has an impossible time or price")
