"""``flightctl sweep``."""

from typing import Annotated

import typer

from flightctl.cli import command, command_app, session_of
from flightctl.core import sweeper
from flightctl.core.errors import InvariantViolationError

app = command_app()


@command(app, "sweep")
def sweep(
    ctx: typer.Context,
    batch_size: Annotated[
        int | None, typer.Option(metavar="N", help="Bookings a transaction (sweep.batch_size: 500).")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would end.")] = False,
) -> None:
    """Examples:
      flightctl sweep
      flightctl sweep --dry-run -o json
      * * * * * flightctl sweep            (in a crontab)

    End every hold that has lapsed.

    Bookings whose hold is past its time become EXPIRED and their seats are free again. Any number
    of sweeps may run at once. In a pipe or from cron it prints nothing when there was nothing to do.

    Exit codes:
      0 done, 7 database down, 9 a booking could not be swept and was skipped
    """
    session = session_of(ctx)
    result = sweeper.sweep(session.runtime, batch_size=batch_size, dry_run=dry_run)
    worth_telling = result.expired_bookings or result.flights or result.skipped
    if worth_telling or session.format != "table" or session.for_people:
        session.show(result)
    if result.skipped:
        raise InvariantViolationError(
            f"{len(result.skipped)} booking(s) could not be swept: {', '.join(result.skipped[:20])}",
            details={"skipped": list(result.skipped)},
        )
