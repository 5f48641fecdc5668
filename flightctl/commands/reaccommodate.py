"""``flightctl reaccommodate``."""

from typing import Annotated

import typer

from flightctl.cli import command, command_app, session_of
from flightctl.core.errors import InvariantViolationError, LockAcquisitionFailedError

app = command_app()


@command(app, "reaccommodate")
def reaccommodate(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="A plan, as `flights cancel --plan` writes it.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would become of each booking.")] = False,
) -> None:
    """Examples:
      flightctl reaccommodate plan.json --dry-run
      flightctl reaccommodate plan.json -o json

    Move the bookings of a plan to other flights.

    Each disrupted booking takes the first of its alternatives that has the seats, whole, in one
    transaction. What cannot be moved is cancelled and its money due back. Running it again changes
    nothing, and finishes what a run that was killed had left.

    Exit codes:
      0 done, or it was, 2 the file is no plan, 7 database down, or some rows stayed locked by others,
      9 a booking that does not add up was left
    """
    from flightctl.core.plan_file import read_plan
    from flightctl.core.reaccommodation import FAILED, reaccommodate
    from flightctl.views.disruptions import REACCOMMODATED, reaccommodated_document

    session = session_of(ctx)
    result = reaccommodate(session.runtime, read_plan(file), dry_run=dry_run)
    session.show_rows(REACCOMMODATED, result.bookings, reaccommodated_document(result))
    damaged = [booking.booking_id for booking in result.bookings if booking.damaged]
    failed = [booking.booking_id for booking in result.bookings if booking.outcome == FAILED]
    if damaged:
        raise InvariantViolationError(
            f"{len(damaged)} booking(s) could not be moved: their records do not add up", details={"failed": failed}
        )
    if failed:
        raise LockAcquisitionFailedError(
            f"{len(failed)} booking(s) could not be moved: their rows stayed locked by others",
            hint="Run it again: it goes on where it stopped.",
            details={"failed": failed},
        )
