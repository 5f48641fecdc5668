"""Where the flights that may follow a first leg come from: the rows of ``flights``, or the days that are packed.

The far end is looked at first: the flights that enter the destination, and then of what lies between only what leaves
where the first arrive and arrives where the last leave. As rows that takes two range scans on indexes; packed, the
airports of one side.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import repeat
from typing import Any, Final, Protocol

from sqlalchemy import Select, bindparam, func, select

from flightctl.core.cache import ROUTES_SECONDS, SeatCount
from flightctl.core.database import Transaction
from flightctl.core.errors import InternalError
from flightctl.core.model.states import FlightStatus
from flightctl.core.prepared import Step
from flightctl.core.routing import Row, times_by_airport, to_instant, to_microseconds
from flightctl.core.routing_airport import DESTINATION, SOURCE, AirportDay, End, unpack
from flightctl.core.schema import flights, packed_airports, packed_days
from flightctl.core.sql_functions import gathered, hundredths, microseconds, utc_now
from flightctl.core.timetable_row import MAX_FLIGHT_TIME

_LONGEST: Final = MAX_FLIGHT_TIME // timedelta(microseconds=1)
_ONE_DAY: Final = timedelta(days=1)
_SECOND: Final = timedelta(seconds=1)
# All flights that leave one airport in one row, as lines of text: for every row a driver in Python takes its time, with
# eight columns, datetimes and decimals several times as long. A thousand flights: 0.7 ms of this process, else 3.6.
_COLUMNS: Final = (
    flights.c.flight_id,
    flights.c.destination,
    microseconds(flights.c.departure_time),
    microseconds(flights.c.arrival_time),
    hundredths(flights.c.price),
    flights.c.available_seats,
    flights.c.seat_version,
)
_ACTIVE: Final = (
    select(flights.c.source, func.count().label("flights"), gathered(*_COLUMNS).label("lines"))
    .where(flights.c.status == FlightStatus.ACTIVE.value)
    .group_by(flights.c.source)
)
FIRSTS: Final = _ACTIVE.where(flights.c.source == bindparam("source"), flights.c.departure_date == bindparam("day"))
_WITHIN: Final = flights.c.departure_time.between(bindparam("earliest"), bindparam("latest"))
_LASTS: Final = _ACTIVE.where(
    flights.c.destination == bindparam("destination"), flights.c.source != bindparam("source"), _WITHIN
)
_MIDDLES: Final = _ACTIVE.where(
    flights.c.source.in_(bindparam("sources", expanding=True)),
    flights.c.destination.in_(bindparam("destinations", expanding=True)),
    _WITHIN,
)
_ALL: Final = _ACTIVE.where(_WITHIN)
_ENTERED: Final = packed_airports.c.airport == bindparam("destination")
_PACKED_LASTS: Final = (
    select(packed_days.c.utc_day, packed_days.c.longest, packed_days.c.packed_at, packed_airports.c.arrivals)
    .outerjoin(packed_airports, (packed_airports.c.utc_day == packed_days.c.utc_day) & _ENTERED)
    .where(
        packed_days.c.utc_day.in_(bindparam("days", expanding=True)),
        packed_days.c.packed_at > utc_now(-ROUTES_SECONDS),  # believed for as long as routes in Redis
    )
)
_AT_AIRPORTS: Final = (
    # Each by itself: of a range of days the server would read all airports.
    packed_airports.c.utc_day.in_(bindparam("days", expanding=True)),
    packed_airports.c.airport.in_(bindparam("airports", expanding=True)),
)
_PACKED_LEAVING: Final = select(packed_airports.c.airport, packed_airports.c.departures).where(*_AT_AIRPORTS)
_PACKED_ENTERING: Final = select(packed_airports.c.airport, packed_airports.c.arrivals).where(*_AT_AIRPORTS)


@dataclass(frozen=True, slots=True)
class Question:
    """Two airports, the flights that leave the first on the day asked for, and the connections allowed."""

    source: str
    destination: str
    firsts: list[Row]
    shortest: int
    longest: int
    """Microseconds, inclusive."""

    def follows(self, reached: Mapping[str, Sequence[int]]) -> tuple[int, int]:
        """The first and the last instant at which a flight may follow one of the arrivals."""
        return (
            min(times[0] for times in reached.values()) + self.shortest,
            max(times[-1] for times in reached.values()) + self.longest,
        )


class NotPackedError(Exception):
    """A day that a search needs is not packed, or damaged."""


class FlightSource(Protocol):
    """Where what follows a first leg comes from; all instants are microseconds, ascending in sequences."""

    def onward(self, question: Question, earliest: int, latest: int) -> Mapping[str, Sequence[int]]:
        """Departures of the flights that enter the destination, but not from the source, by airport: of those that may
        follow a flight which departs between two instants, inclusive, or be it."""

    def middles(
        self, question: Question, reached: Mapping[str, Sequence[int]], onward: Mapping[str, Sequence[int]]
    ) -> list[Row]:
        """The flights from where something arrives to where something departs that may connect both; more may be
        among them."""

    def lasts(self, airports: Set[str]) -> list[Row]:
        """The flights of ``onward`` from any of the airports; more may be among them."""


class RowSource:
    """Reads rows, and keeps the text of their counts until it is known which of them matter."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self._counts: dict[str, tuple[str, str]] = {}
        self._lasts: list[Row] = []

    @property
    def number(self) -> int:
        return len(self._counts)

    def onward(self, question: Question, earliest: int, latest: int) -> Mapping[str, Sequence[int]]:
        window = _window(earliest, latest + _LONGEST + question.longest)
        self._lasts = self._read(_LASTS, source=question.source, destination=question.destination, **window)
        return times_by_airport((row[1], row[3]) for row in self._lasts)

    def middles(
        self, question: Question, reached: Mapping[str, Sequence[int]], onward: Mapping[str, Sequence[int]]
    ) -> list[Row]:
        airports = {"sources": sorted(reached), "destinations": sorted(onward)}
        return self._read(_MIDDLES, **airports, **_window(*question.follows(reached)))

    def lasts(self, _airports: Set[str]) -> list[Row]:
        return self._lasts

    def _read(self, statement: Select[Any], **parameters: Any) -> list[Row]:
        [groups] = self._tx.fetch([Step(statement, parameters)])
        return self.take(groups)

    def take(self, groups: Iterable[Sequence[Any]]) -> list[Row]:
        found: list[Row] = []
        for source, count, lines in groups:
            columns = _columns(source, count, lines)
            self._counts.update(zip(columns[0], zip(columns[5], columns[6], strict=True), strict=True))
            found += _rows(source, columns)
        return found

    def counts_of(self, flight_ids: Iterable[str]) -> dict[str, SeatCount]:
        """Of those that were read here."""
        texts = ((name, self._counts.get(name)) for name in flight_ids)
        return {name: SeatCount(int(text[0]), int(text[1])) for name, text in texts if text is not None}


class PackedSource:
    """Reads packed days. Raises NotPackedError."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self._entering: list[AirportDay] = []
        self._window = (0, 0)
        self.number = 0
        self.packed_at: datetime | None = None
        """When the first of the days read was packed; None while none was needed."""

    def onward(self, question: Question, earliest: int, latest: int) -> Mapping[str, Sequence[int]]:
        airport = question.destination
        days = _dates(earliest, latest + _LONGEST + question.longest)
        [rows] = self._tx.fetch([Step(_PACKED_LASTS, {"destination": airport, "days": days})])
        found: dict[date, Any] = {row.utc_day: row for row in rows}
        flying = [found[day].longest if day in found else _LONGEST for day in _dates(earliest, latest)]
        end = latest + max(flying) + question.longest
        if any(day not in found for day in _dates(earliest, end)):
            raise NotPackedError
        self.packed_at = min(found[day].packed_at for day in _dates(earliest, end))
        packed = [found[day].arrivals for day in _dates(earliest, end)]
        self._entering = [_unpack(airport, SOURCE, data) for data in packed if data is not None]  # if anything arrives
        self._window = earliest, end
        times: defaultdict[str, list[int]] = defaultdict(list)
        for one in self._entering:
            for source in one.slices.keys() - {question.source}:
                times[source] += one.departing(source, *self._window)
        return {source: sorted(instants) for source, instants in times.items() if instants}

    def middles(
        self, question: Question, reached: Mapping[str, Sequence[int]], onward: Mapping[str, Sequence[int]]
    ) -> list[Row]:
        leaving = len(reached) <= len(onward)
        statement = _PACKED_LEAVING if leaving else _PACKED_ENTERING
        parameters = {
            "airports": sorted(reached if leaving else onward),
            "days": _dates(*question.follows(reached)),
        }
        middles: list[Row] = []
        [packed] = self._tx.fetch([Step(statement, parameters)])
        for airport, data in packed:
            one = _unpack(airport, DESTINATION if leaving else SOURCE, data)
            middles += one.connecting(reached, onward, question.shortest, question.longest)
        self.number += len(middles)
        return middles

    def lasts(self, airports: Set[str]) -> list[Row]:
        lasts: list[Row] = []
        for one in self._entering:
            for source in one.slices.keys() & airports:
                lasts += one.rows(source, *self._window)
        self.number += len(lasts)
        return lasts


def departing(tx: Transaction, earliest: datetime, end: datetime) -> Iterator[tuple[str, list[Row]]]:
    """All active flights that depart from ``earliest`` on and before ``end``, by the airport that they leave."""
    first, last = to_microseconds(earliest), to_microseconds(end)
    # On SQLite, text that other people's SQL wrote without a fraction, or with a T, sorts a little before or after.
    wider = {"earliest": earliest - _SECOND, "latest": end + _SECOND}
    [groups] = tx.fetch([Step(_ALL, wider)])
    for source, count, lines in groups:
        rows = [row for row in _rows(source, _columns(source, count, lines)) if first <= row[3] < last]
        if rows:
            yield source, rows


def _columns(source: str, count: int, lines: str) -> list[list[str]]:
    texts = lines.split("\n")
    if len(texts) != count * len(_COLUMNS):
        raise InternalError(f"the database told of the flights from {source} in part only")
    return [texts[column :: len(_COLUMNS)] for column in range(len(_COLUMNS))]


def _rows(source: str, columns: Sequence[Sequence[str]]) -> Iterator[Row]:
    ids, destinations, departures, arrivals, prices, *_ = columns
    numbers = (map(int, column) for column in (departures, arrivals, prices))
    return zip(ids, repeat(source), destinations, *numbers, strict=False)


def _unpack(airport: str, other: End, data: bytes) -> AirportDay:
    try:
        return unpack(airport, other, data)
    except ValueError as error:
        raise NotPackedError from error


def _dates(earliest: int, latest: int) -> list[date]:
    """The dates (UTC) from one instant to another."""
    first, last = to_instant(earliest).date(), to_instant(latest).date()
    return [first + offset * _ONE_DAY for offset in range((last - first).days + 1)]


def _window(earliest: int, latest: int) -> dict[str, datetime]:
    return {"earliest": to_instant(earliest), "latest": to_instant(latest)}
