"""``bench seed``: flights loaded a second, from a schedule to the committed row."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import date, timedelta
from functools import partial
from typing import Any, Final

from flightctl.core.bench import floors
from flightctl.core.bench.audited import audit_scratch
from flightctl.core.bench.load import Worker
from flightctl.core.bench.result import BenchResult, Row, row_of
from flightctl.core.bench.scratch import changed_settings, scratch
from flightctl.core.model.schedules import SeedRequest
from flightctl.core.resources import resource
from flightctl.core.runtime import Runtime
from flightctl.core.seeding import CHUNK, DATASETS, seed
from flightctl.core.settings import Settings
from flightctl.core.timetable import expand, read_schedule

DATASET: Final = "india"
FIRST: Final = date(2030, 1, 7)
TURN_DAYS: Final = 7
"""Of the network's flights, at most, that one contender loads before the other's turn: about 17,000."""
FLIGHTS_A_DAY: Final = 2400
COLUMNS: Final = (
    "flight_id", "carrier", "flight_number", "source", "destination", "departure_time", "arrival_time",
    "departure_date", "total_seats", "available_seats", "seat_version", "price", "status",
)  # fmt: skip
_INSERT: Final = "INSERT INTO flights ({columns}) VALUES ({places})"

Ask = tuple[str, date, int]
"""What to do, the first day and how many."""


def bench_seed(settings: Settings, *, flights: int) -> BenchResult:
    """Both load the same flights, each into a schema of its own, a week of them in turns.

    The floor has its rows ready; flightctl reads the schedule, works out the dates, looks what is there, and queues
    with other changes of the schedule. Without Redis, which a new flight has no count in.
    """
    with ExitStack() as stack:
        ours, theirs = (
            changed_settings(stack.enter_context(scratch(settings)), {"redis.url": "", "locking": "database"})
            for _ in range(2)
        )
        own = stack.enter_context(Worker(partial(flightctl_seed, ours)))
        floor = stack.enter_context(Worker(partial(bare_inserts, theirs)))
        own_seconds: list[float] = []
        floor_seconds: list[float] = []
        loaded, day, days = 0, FIRST, max(1, min(TURN_DAYS, flights // FLIGHTS_A_DAY))
        while loaded < flights:
            floor.ask(("prepare", day, days))
            for worker, seconds in ((floor, floor_seconds), (own, own_seconds)):
                count, took = worker.ask(("load", day, days))
                seconds.append(took)
            loaded += count
            day += timedelta(days=days)
        floor_row = _row(f"{floors.driver_name(ours)}, INSERTs of many rows", floor_seconds, loaded, floor)
        row = _row("flightctl", own_seconds, loaded, own).held_against(floor_row)
        violations = audit_scratch(ours)
    return BenchResult(
        "seed", 1, loaded, sum(own_seconds) + sum(floor_seconds), floor_row, row, (floor_row, row), violations
    )


def _row(what: str, seconds: Sequence[float], loaded: int, worker: Worker) -> Row:
    """Latencies are those of a flight, on average over a turn."""
    each = [one * len(seconds) / loaded for one in seconds]
    return row_of(what, each, units=loaded, wall=sum(seconds), peak_mb=worker.peak_mb)


def flightctl_seed(settings: Settings) -> Callable[[Ask], int]:
    runtime = Runtime(settings, actor="bench")

    def work(question: Ask) -> int:
        _, day, days = question
        return seed(runtime, SeedRequest(dataset=DATASET, start=day.isoformat(), days=days)).added

    return work


def bare_inserts(settings: Settings) -> Callable[[Ask], int]:
    """Multi-row INSERTs (the driver's executemany) in transactions as large as flightctl's."""
    bare = floors.Bare(settings)
    place = "?" if bare.embedded else "%s"
    statement = _INSERT.format(columns=", ".join(COLUMNS), places=", ".join([place] * len(COLUMNS)))
    source = read_schedule(resource(f"seed_data/{DATASETS[DATASET]}"))
    rows: Sequence[tuple[Any, ...]] = []

    def work(question: Ask) -> int:
        nonlocal rows
        what, day, days = question
        if what == "prepare":
            rows = [_values(flight, bare.embedded) for flight in expand(source, day, days)]
            return 0
        for start in range(0, len(rows), CHUNK):
            bare.begin()
            bare.cursor.executemany(statement, rows[start : start + CHUNK])
            bare.commit()
        return len(rows)

    return work


def _values(flight: Any, embedded: bool) -> tuple[Any, ...]:
    """As the database keeps them."""
    leaves, lands = (at.replace(tzinfo=None) for at in (flight.departure_time, flight.arrival_time))
    times: tuple[Any, ...] = (leaves, lands, flight.departure_date)
    price: Any = flight.price
    if embedded:
        times = (*(at.isoformat(" ", "microseconds") for at in (leaves, lands)), flight.departure_date.isoformat())
        price = int(price * 100)
    return (
        flight.flight_id, flight.carrier, flight.flight_number, flight.source, flight.destination,
        *times, flight.seats, flight.seats, 1, price, "ACTIVE",
    )  # fmt: skip
