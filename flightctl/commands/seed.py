"""``flightctl seed``."""

from typing import Annotated

import typer

from flightctl.cli import command, command_app, session_of
from flightctl.core import seeding
from flightctl.core.model.schedules import SeedRequest
from flightctl.progress import progress_bar, warn_of_rejected

app = command_app()


@command(app, "seed")
def seed(
    ctx: typer.Context,
    dataset: Annotated[str, typer.Option(metavar="NAME", help="demo, india or world.")] = "demo",
    file: Annotated[str | None, typer.Option(metavar="F", help="A schedule file instead of a dataset.")] = None,
    start: Annotated[str, typer.Option(metavar="D", help="First day: YYYY-MM-DD, today, tomorrow or +3d.")] = "today",
    days: Annotated[int, typer.Option(metavar="N", help="How many days.")] = 30,
    reset: Annotated[bool, typer.Option("--reset", help="Delete all flights and bookings first.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before --reset.")] = False,
) -> None:
    """Examples:
      flightctl seed
      flightctl seed --dataset india --days 7
      flightctl seed --file schedule.csv --start 2026-12-01
      flightctl seed --reset --yes

    Load a network and its flights.

    demo is seven cities with about 100 flights a day, india the whole domestic network with about
    2,400, world some 104,000, for measuring. Repeating it adds only what is missing. Bad rows of a
    file are reported and skipped.

    Exit codes:
      0 loaded, 2 no good row, 4 refused in production, 7 database down
    """
    session = session_of(ctx)
    seeding.refuse_seed(session.settings)  # before a question is asked
    if reset and not yes:
        session.require_yes("Delete all flights, bookings and payments first?", doing="--reset deletes everything")
    request = SeedRequest(dataset=dataset, file=file, start=start, days=days, reset=reset)
    with progress_bar(session, "flights") as progress:
        result = seeding.seed(session.runtime, request, progress)
    warn_of_rejected(session, result.rejected)
    session.show(result)
