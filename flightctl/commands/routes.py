"""``flightctl routes``."""

from typing import Annotated

import typer

from flightctl.cli import command, group_app, session_of

app = group_app(
    "routes",
    """Examples:
      flightctl routes precompute
      flightctl routes precompute --date tomorrow --days 7 --top 50
      flightctl routes pack --days 30

    Fill the cache of routes, pack the timetable.
    """,
)


@command(app, "precompute")
def precompute(
    ctx: typer.Context,
    date: Annotated[str, typer.Option(metavar="D", help="First day: YYYY-MM-DD, today, tomorrow or +3d.")] = "today",
    days: Annotated[int, typer.Option(metavar="N", help="How many days.")] = 1,
    top: Annotated[int, typer.Option(metavar="N", help="How many pairs of airports, the busiest first.")] = 100,
) -> None:
    """Examples:
      flightctl routes precompute
      flightctl routes precompute --date 2026-12-01 --days 3 --top 20 -o json

    Compute the routes of the busiest pairs of airports into the cache.

    Searches for them are then answered from Redis until the schedule changes or an hour is over.

    Exit codes:
      0 done, 2 wrong option, 7 database down, or Redis down or not configured
    """
    from flightctl.core.precompute import precompute as core_precompute

    session = session_of(ctx)
    session.show(core_precompute(session.runtime, date=date, days=days, top=top))


@command(app, "pack")
def pack(
    ctx: typer.Context,
    date: Annotated[str, typer.Option(metavar="D", help="First day: YYYY-MM-DD, today, tomorrow or +3d.")] = "today",
    days: Annotated[int, typer.Option(metavar="N", help="How many days.")] = 1,
) -> None:
    """Examples:
      flightctl routes pack
      flightctl routes pack --date 2026-12-01 --days 30 -o json

    Pack the timetable of whole days, for networks of some thousand flights a day and more.

    Searches that Redis cannot answer then read the packed airports in place of the rows of flights, until
    the schedule of those days changes or an hour is over. With the setting search.packed_days the daemon
    keeps days packed.

    Exit codes:
      0 done, 2 wrong option, 7 database down, or flights of a day keep changing
    """
    from flightctl.core.packed_days import pack_days

    session = session_of(ctx)
    session.show(pack_days(session.runtime, date=date, days=days))
