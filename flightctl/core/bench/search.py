"""``bench search``: itineraries of up to three legs over fixed city pairs, next to the self-join in SQL."""

import random
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from operator import truediv
from typing import Final

from sqlalchemy import func, select

from flightctl.core.bench import floors
from flightctl.core.bench.audited import audit_scratch
from flightctl.core.bench.load import Contender, Operation, Worker, crews
from flightctl.core.bench.result import BenchResult, Row, row_of
from flightctl.core.bench.scratch import changed_settings, scratch
from flightctl.core.bench.selfjoin import count_anew, count_itineraries
from flightctl.core.booking import book
from flightctl.core.database import Database
from flightctl.core.errors import InternalError, NoSeatsAvailableError
from flightctl.core.model.bookings import BookRequest
from flightctl.core.model.itineraries import SearchRequest
from flightctl.core.model.operations import PackResult
from flightctl.core.model.schedules import SeedRequest
from flightctl.core.packed_days import pack_days
from flightctl.core.runtime import Runtime
from flightctl.core.schema import flights
from flightctl.core.search import search
from flightctl.core.seeding import seed
from flightctl.core.settings import Settings

SEATS: Final = 2
NETWORKS: Final = ("demo", "india", "world")
_HUBS: Final = 20
_WARM_REPEATS: Final = 3
"""Of which the median counts: a warm search is short against what else happens on a machine."""
_DEMO_PAIRS: Final = 42
"""There are no more between seven cities."""
_HOLD_SECONDS: Final = 86400
_REFUSED: Final = "redis://127.0.0.1:1/0"
"""Nothing listens on port 1."""
_LOOKS: Final = 3
"""Counts change meanwhile: totals may differ once, not again and again."""

Pair = tuple[str, str]


@dataclass(slots=True)
class _State:
    """One way to search, and its seconds over the pairs."""

    what: str
    seconds: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    peak_mb: float = 0.0


def bench_search(settings: Settings, *, network: str, clients: int, seconds: float, pair_count: int) -> BenchResult:
    """Cold over the pairs; then, the days packed, warm, cold and without Redis, each in turn with the floor; then
    ``seconds`` of ``clients`` warm processes. Every answer's total is compared with the self-join's. Seats are booked
    meanwhile.

    A network larger than the demo has the demo's warm searches beside it: how the time grows with the flights.
    """
    with ExitStack() as stack:
        changed = stack.enter_context(scratch(settings))
        day, flight_count = _fill(changed, network)
        floors.analyze(changed)
        pairs = _pairs(changed, day, pair_count)
        small = None if network == "demo" else _small(stack, settings, pair_count)
        with ExitStack() as working:
            working.enter_context(_changing_counts(changed, day))
            before = _cold_over_pairs(working, changed, day, pairs)
            packing = _pack(changed, day)
            rows = _over_pairs(working, changed, day, pairs, small)
            rows += [*before, packing]
            rows.append(_throughput(changed, day, pairs, clients, seconds))
        violations = audit_scratch(changed)
    floor, own = rows[0], rows[1]
    return BenchResult(f"search {network}", clients, flight_count, seconds, floor, own, tuple(rows), violations)


@dataclass(slots=True)
class _Small:
    """The demo network's warm searches, one by one."""

    what: str
    worker: Worker
    pairs: Sequence[Pair]
    seconds: list[float] = field(default_factory=list)

    def search(self, number: int) -> None:
        pair = self.pairs[number % len(self.pairs)]
        self.worker.ask(pair)
        self.seconds.append(statistics.median(self.worker.ask(pair)[1] for _ in range(_WARM_REPEATS)))


def _small(stack: ExitStack, settings: Settings, pair_count: int) -> _Small:
    changed = stack.enter_context(scratch(settings))
    day, flight_count = _fill(changed, "demo")
    worker = stack.enter_context(Worker(partial(flightctl_search, changed, day)))
    what = f"flightctl, the same with {flight_count} flights a day"
    return _Small(what, worker, _pairs(changed, day, min(pair_count, _DEMO_PAIRS)))


def _fill(settings: Settings, network: str) -> tuple[date, int]:
    """Seed the day after tomorrow and the one after it; the first, and its flights."""
    with Worker(partial(_seeder, settings)) as worker:  # whatever memory that takes is not the searches'
        (day, flight_count), _ = worker.ask(network)
    return day, flight_count


def _seeder(settings: Settings) -> Callable[[str], tuple[date, int]]:
    runtime = Runtime(settings, actor="bench")

    def work(network: str) -> tuple[date, int]:
        result = seed(runtime, SeedRequest(dataset=network, start="+2d", days=2))
        count = select(func.count()).select_from(flights).where(flights.c.departure_date == result.first_day)
        return result.first_day, runtime.database.read(lambda tx: int(tx.execute(count).scalar_one()))

    return work


def _pack(settings: Settings, day: date) -> Row:
    """Pack what searches for the day read."""
    with Worker(partial(_packer, settings)) as worker:
        packed, took = worker.ask(day)
    what = f"flightctl packs a day and what follows it: {packed.flights} flights, {packed.bytes / 2**20:.1f} MB"
    return row_of(what, [took], peak_mb=worker.peak_mb)


def _packer(settings: Settings) -> Callable[[date], PackResult]:
    runtime = Runtime(settings, actor="bench")
    return lambda day: pack_days(runtime, date=day.isoformat(), days=1)


def _pairs(settings: Settings, day: date, how_many: int) -> list[Pair]:
    """Fixed for a network: a quarter between hubs, half between a hub and a small airport, a quarter of small ones."""
    departures = func.count().label("departures")
    query = select(flights.c.source, departures).where(flights.c.departure_date == day).group_by(flights.c.source)
    database = Database(settings)
    try:
        ranked = database.read(
            lambda tx: [row.source for row in tx.execute(query.order_by(departures.desc(), flights.c.source))]
        )
    finally:
        database.close()
    dice = random.Random(20)  # noqa: S311 - a fixed choice
    hubs, small = ranked[:_HUBS], ranked[_HUBS:] or ranked
    kinds = ((hubs, hubs), (hubs, small), (small, hubs), (small, small))
    pairs: list[Pair] = []
    while len(pairs) < how_many:
        starts, ends = kinds[len(pairs) % 4]
        source, destination = dice.choice(starts), dice.choice(ends)
        if source != destination:
            pairs.append((source, destination))
    return pairs


class _Cold:
    """Searches of a new process with an empty Redis, each in turn with the self-join of a new process."""

    def __init__(self, settings: Settings, day: date, what: str, joining: Worker) -> None:
        self._settings, self._day, self._joining = settings, day, joining
        self._state = _State(what)
        self._anew: list[float] = []

    def search(self, pair: Pair, expected: int, took: float) -> None:
        own_keys = f"{self._settings['redis.prefix']}{self._state.what}:{len(self._anew)}:"
        fresh = changed_settings(self._settings, {"redis.prefix": own_keys})
        with Worker(partial(flightctl_search, fresh, self._day)) as worker:
            _measure(self._state, worker, self._joining, pair, expected, took, repeats=0)
        with Worker(partial(count_anew, self._settings, self._day, SEATS)) as worker:
            self._anew.append(worker.ask(pair)[1])

    def rows(self, floor: Row | None = None) -> list[Row]:
        """Its own, and that of the self-join in a new process: what is new in one is new in the other."""
        anew = row_of(f"{floors.driver_name(self._settings)}, the self-join in a new process", self._anew)
        state = self._state
        own = row_of(state.what, state.seconds, peak_mb=state.peak_mb)
        if floor is not None:
            own = own.at_ratio(floor, statistics.median(state.ratios))
        return [own.at_ratio(anew, statistics.median(map(truediv, self._anew, state.seconds))), anew]


def _cold_over_pairs(stack: ExitStack, settings: Settings, day: date, pairs: Sequence[Pair]) -> list[Row]:
    """As long as no day is packed."""
    if not settings["redis.url"]:
        return []
    joining = stack.enter_context(Worker(partial(count_itineraries, settings, day, SEATS)))
    cold = _Cold(settings, day, "flightctl, cold, no day packed", joining)
    for pair in pairs:
        cold.search(pair, *joining.ask(pair))
    return cold.rows()[:1]


def _over_pairs(
    stack: ExitStack, settings: Settings, day: date, pairs: Sequence[Pair], small: _Small | None
) -> list[Row]:
    without = changed_settings(settings, {"redis.url": "", "locking": "database"})
    down = changed_settings(settings, {"redis.url": _REFUSED, "redis.pause": 3600.0})
    floor = _State(f"{floors.driver_name(settings)}, self-join of three legs, count only")
    own = [_State("flightctl, no Redis")]
    workers = [stack.enter_context(Worker(partial(flightctl_search, without, day)))]
    if settings["redis.url"]:
        own = [_State("flightctl, warm"), _State("flightctl, Redis down")]
        workers = [stack.enter_context(Worker(partial(flightctl_search, each, day))) for each in (settings, down)]
    joining = stack.enter_context(Worker(partial(count_itineraries, settings, day, SEATS)))
    cold = _Cold(settings, day, "flightctl, cold", joining) if settings["redis.url"] else None
    for number, pair in enumerate(pairs):
        expected, took = joining.ask(pair)
        floor.seconds.append(took)
        for state, worker in zip(own, workers, strict=True):
            _measure(state, worker, joining, pair, expected, took)
        if small is not None:
            small.search(number)
        if cold is not None:
            cold.search(pair, expected, took)
    floor_row = row_of(floor.what, floor.seconds)
    rows = [
        row_of(state.what, state.seconds, peak_mb=state.peak_mb).at_ratio(floor_row, statistics.median(state.ratios))
        for state in own
    ]
    if cold is not None:
        rows += cold.rows(floor_row)
    if small is not None:
        row = row_of(small.what, small.seconds, peak_mb=small.worker.peak_mb)
        rows.append(row.at_ratio(rows[0], rows[0].p50_ms / row.p50_ms))
    return [floor_row, *rows]


def _measure(
    state: _State,
    worker: Worker,
    joining: Worker,
    pair: Pair,
    expected: int,
    took: float,
    *,
    repeats: int = _WARM_REPEATS,
) -> None:
    """One pair; the first answer of a warm worker fills Redis and is not counted."""
    total, first = worker.ask(pair)
    times = [worker.ask(pair)[1] for _ in range(repeats)] or [first]
    for _ in range(_LOOKS):
        if total == expected:
            break
        expected, total = joining.ask(pair)[0], worker.ask(pair)[0]
    else:
        raise InternalError(f"{state.what} counts {total} itineraries {'-'.join(pair)}, the self-join {expected}")
    state.seconds.append(statistics.median(times))
    state.ratios.append(took / state.seconds[-1])
    state.peak_mb = max(state.peak_mb, worker.peak_mb)


def flightctl_search(settings: Settings, day: date) -> Callable[[Pair], int]:
    """The product's own use case, in a process that has it loaded but has connected to nothing."""
    runtime = Runtime(settings, actor="bench")

    def work(pair: Pair) -> int:
        return search(runtime, SearchRequest(*pair, day.isoformat(), seats=SEATS)).total_elements

    return work


def _throughput(settings: Settings, day: date, pairs: Sequence[Pair], clients: int, seconds: float) -> Row:
    what = f"flightctl, {clients} processes at once"
    with crews([Contender(what, partial(_searching, settings, day, pairs))], clients) as [crew]:
        crew.run(seconds, counted=False)
        crew.run(seconds)
        return crew.row()


def _searching(settings: Settings, day: date, pairs: Sequence[Pair], number: int) -> Operation:
    work = flightctl_search(settings, day)
    dice = random.Random(number)  # noqa: S311 - spreads load

    def operation() -> int:
        work(dice.choice(pairs))
        return 1

    return operation


@contextmanager
def _changing_counts(settings: Settings, day: date) -> Iterator[None]:
    """One client books seats all the while, a few times a second."""
    with crews([Contender("bookings meanwhile", partial(_booking, settings, day))], 1) as [crew]:
        crew.set_going(3600.0)
        yield


def _booking(settings: Settings, day: date, number: int) -> Operation:
    import time

    runtime = Runtime(settings, actor="bench")
    query = select(flights.c.flight_id).where(flights.c.departure_date == day)
    flight_ids = runtime.database.read(lambda tx: list(tx.execute(query).scalars()))
    dice = random.Random(number)  # noqa: S311 - spreads load

    def operation() -> int:
        time.sleep(0.05)
        with suppress(NoSeatsAvailableError):
            request = BookRequest(dice.choice(flight_ids), user="meanwhile", seats=9, ttl_seconds=_HOLD_SECONDS)
            book(runtime, request)
        return 1

    return operation
