"""``flightctl bench``."""

from typing import TYPE_CHECKING, Annotated

import typer

from flightctl.cli import command, group_app, session_of
from flightctl.core.errors import InvariantViolationError, ValidationError
from flightctl.session import Session
from flightctl.views.bench import BENCH, bench_document

if TYPE_CHECKING:
    from flightctl.core.bench.result import BenchResult

MAX_CLIENTS = 256
MAX_SECONDS = 3600

Clients = Annotated[int, typer.Option(metavar="N", help="Client processes.")]
Seconds = Annotated[float, typer.Option(metavar="S", help="Seconds that each contender works.")]

app = group_app(
    "bench",
    """Examples:
      flightctl bench book
      flightctl bench book --flights 200 --locking redis -o json
      flightctl bench search --network india

    Measure flightctl next to bare drivers.

    Everything runs on a scratch schema of the configured servers, never on the real tables. Floor and
    flightctl take turns in the same run. A floor is the bare driver doing the least that the
    same promise needs; a ratio is flightctl's speed over the floor's. An audit ends what wrote, and the
    scratch schema is dropped, whatever ends the bench.
    """,
)


def _check(what: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ValidationError(f"{what} goes from {low:g} to {high:g}, not {value:g}")


def _show(session: Session, result: "BenchResult") -> None:
    session.show_rows(BENCH, result.rows, bench_document(result))
    if result.violations:
        raise InvariantViolationError(
            f"the scratch schema does not add up after the bench: {len(result.violations)} violation(s), "
            f"the first: {result.violations[0].kind}: {result.violations[0].detail}",
            hint="The schema is gone; this is a defect of flightctl, or of the server.",
            details={"violations": len(result.violations)},
        )


@command(app, "book")
def book(
    ctx: typer.Context,
    locking: Annotated[
        str, typer.Option(metavar="database|redis", help="What orders the queue for a flight.")
    ] = "database",
    clients: Clients = 16,
    flights: Annotated[int, typer.Option(metavar="N", help="Flights to choose from; 1 is a hot one.")] = 1,
    seconds: Seconds = 10.0,
    sold_out: Annotated[bool, typer.Option("--sold-out", help="No seats are left: measure refusals.")] = False,
    writers: Annotated[
        int, typer.Option(metavar="N", help="Servers of a cluster that clients take turns at; 1 is the first of all.")
    ] = 1,
) -> None:
    """Examples:
      flightctl bench book
      flightctl bench book --flights 200 --clients 16 --seconds 20
      flightctl bench book --locking redis -o json
      flightctl bench book --sold-out
      flightctl bench book --writers 3 --clients 8

    Bookings a second.

    The floor writes the same rows: one statement at a time, or all in one round trip (not on Galera,
    where that is not one transaction). With --locking
    redis, flightctl's row with locks and published counts is held against its row without Redis.

    Exit codes:
      0 measured, 2 wrong option, 4 refused in production, 7 database down, 9 the audit found damage
    """
    from flightctl.core.bench.book import bench_book

    session = session_of(ctx)
    if locking not in ("database", "redis"):
        raise ValidationError(f"--locking is database or redis, not {locking[:40]!r}")
    _check("--clients", clients, 1, MAX_CLIENTS)
    _check("--flights", flights, 1, 100_000)
    _check("--seconds", seconds, 0.1, MAX_SECONDS)
    _check("--writers", writers, 1, MAX_CLIENTS)
    result = bench_book(
        session.settings,
        locking=locking,
        clients=clients,
        flight_count=flights,
        seconds=seconds,
        sold_out=sold_out,
        writers=writers,
    )
    _show(session, result)


@command(app, "start")
def start(
    ctx: typer.Context,
    passes: Annotated[int, typer.Option(metavar="N", help="Runs of each, of which the median counts.")] = 30,
) -> None:
    """Examples:
      flightctl bench start
      flightctl bench start --passes 10 -o json

    Whole commands, from the start of the process to its end.

    --help, a search that Redis can answer and a booking, each next to a bare interpreter that imports
    the libraries it cannot do without. Ratios are of medians.

    Exit codes:
      0 measured, 2 wrong option, 4 refused in production, 7 database down, 9 the audit found damage
    """
    from flightctl.core.bench.start import bench_start

    _check("--passes", passes, 1, 10_000)
    session = session_of(ctx)
    _show(session, bench_start(session.settings, passes=passes))


@command(app, "search")
def search(
    ctx: typer.Context,
    network: Annotated[str, typer.Option(metavar="demo|india|world", help="Flights to search.")] = "india",
    clients: Annotated[int, typer.Option(metavar="N", help="Processes that search at once at the end.")] = 2,
    seconds: Seconds = 10.0,
    pairs: Annotated[int, typer.Option(metavar="N", help="City pairs, hubs and small airports.")] = 200,
) -> None:
    """Examples:
      flightctl bench search
      flightctl bench search --network world --pairs 40
      flightctl bench search --network demo --seconds 2 -o json

    Searches of up to three legs for two seats, while seats are sold.

    The floor counts the itineraries by a self-join in SQL, and every total is compared with it. Warm:
    Redis knows the routes; cold: a new process and an empty Redis; down: Redis refuses. Percentiles
    are over the city pairs, ratios those of the median pair. The demo network's warm searches stand
    beside a larger one's; their ratio is how many times as long the median took. Filling the world's
    network takes minutes.

    Exit codes:
      0 measured, 2 wrong option, 4 refused in production, 7 database down, 9 the audit found damage
    """
    from flightctl.core.bench.search import NETWORKS, bench_search

    if network not in NETWORKS:
        raise ValidationError(f"--network is {', '.join(NETWORKS)}, not {network[:40]!r}")
    _check("--clients", clients, 1, MAX_CLIENTS)
    _check("--seconds", seconds, 0.1, MAX_SECONDS)
    _check("--pairs", pairs, 1, 10_000)
    session = session_of(ctx)
    _show(session, bench_search(session.settings, network=network, clients=clients, seconds=seconds, pair_count=pairs))


@command(app, "pay")
def pay(
    ctx: typer.Context,
    clients: Annotated[int, typer.Option(metavar="N", help="Payment processors.")] = 8,
    flights: Annotated[int, typer.Option(metavar="N", help="Flights that were booked.")] = 200,
    seconds: Seconds = 10.0,
) -> None:
    """Examples:
      flightctl bench pay
      flightctl bench pay --clients 2 --seconds 5 -o json

    Payments a second: claimed, charged, settled and their bookings confirmed.

    The gateway answers at once. The floor takes each payment by itself, in three transactions: the
    gateway's, its answer, the booking. Its payments are dealt out beforehand; flightctl's processors
    find theirs.

    Exit codes:
      0 measured, 2 wrong option, 4 refused in production, 7 database down, 9 the audit found damage
    """
    from flightctl.core.bench.pay import bench_pay

    _check("--clients", clients, 1, MAX_CLIENTS)
    _check("--flights", flights, 1, 100_000)
    _check("--seconds", seconds, 0.1, MAX_SECONDS)
    session = session_of(ctx)
    _show(session, bench_pay(session.settings, clients=clients, flight_count=flights, seconds=seconds))


@command(app, "sweep")
def sweep(
    ctx: typer.Context,
    holds: Annotated[int, typer.Option(metavar="N", help="Lapsed holds to lay in.")] = 100_000,
    flights: Annotated[int, typer.Option(metavar="N", help="Flights that they are on.")] = 2000,
    clients: Annotated[int, typer.Option(metavar="N", help="Buyers of seats on them.")] = 4,
    seconds: Annotated[
        float | None, typer.Option(metavar="S", help="Seconds that each contender works at most.")
    ] = None,
) -> None:
    """Examples:
      flightctl bench sweep
      flightctl bench sweep --holds 10000 --flights 200 --seconds 5 -o json

    Lapsed holds ended a second, and what buyers of the same flights notice of it.

    The floor ends one booking a transaction. Buyers come at a quarter of their capacity whether or not
    the ones before them are served; the ratio of their row is that of the p99.

    Exit codes:
      0 measured, 2 wrong option, 4 refused in production, 7 database down, 9 the audit found damage
    """
    from flightctl.core.bench.sweep import bench_sweep

    _check("--holds", holds, 1, 10_000_000)
    _check("--flights", flights, 1, 100_000)
    _check("--clients", clients, 1, MAX_CLIENTS)
    if seconds is not None:
        _check("--seconds", seconds, 0.1, MAX_SECONDS)
    session = session_of(ctx)
    result = bench_sweep(session.settings, holds=holds, flight_count=flights, clients=clients, seconds=seconds)
    _show(session, result)


@command(app, "seed")
def seed(
    ctx: typer.Context,
    flights: Annotated[int, typer.Option(metavar="N", help="Flights to load, at least.")] = 200_000,
) -> None:
    """Examples:
      flightctl bench seed
      flightctl bench seed --flights 50000 -o json

    Flights loaded a second, from a schedule's rows to committed flights.

    The floor writes the same flights by INSERTs of many rows, which it has ready. Each has a schema
    of its own; they take turns by the week.

    Exit codes:
      0 measured, 2 wrong option, 4 refused in production, 7 database down, 9 the audit found damage
    """
    from flightctl.core.bench.seed import bench_seed

    _check("--flights", flights, 1, 5_000_000)
    session = session_of(ctx)
    _show(session, bench_seed(session.settings, flights=flights))
