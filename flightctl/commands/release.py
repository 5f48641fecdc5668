"""``flightctl release``."""

from typing import Annotated

import typer

from flightctl.cli import command, command_app, session_of
from flightctl.core import cancellation
from flightctl.core.model import ChangeResult
from flightctl.session import Session

app = command_app()


@command(app, "release")
def release(
    ctx: typer.Context,
    booking: Annotated[str, typer.Argument(metavar="BOOKING", help="Its id, e.g. K7QX2M.")],
    reason: Annotated[str | None, typer.Option(metavar="T", help="Kept in the booking's history.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Cancel a CONFIRMED booking without asking.")] = False,
) -> None:
    """Examples:
      flightctl release K7QX2M
      flightctl release K7QX2M --reason "customer changed plans"
      flightctl release K7QX2M --yes -o json

    Give a booking's seats back and cancel it.

    A PENDING booking ends as CANCELLED. A CONFIRMED one does with --yes, or after a question on a
    terminal, and its money is then due back. Releasing a CANCELLED booking changes nothing.

    Exit codes:
      0 cancelled, 2 CONFIRMED and --yes is missing, 3 no such booking, 6 expired or failed before
    """
    session = session_of(ctx)
    result = _release(session, booking, reason, yes)
    session.show(result)
    if not result.changed:
        session.note(f"Nothing changed: booking {result.booking.booking_id} was {result.booking.status.value} already.")


def _release(session: Session, booking: str, reason: str | None, yes: bool) -> ChangeResult:
    try:
        return cancellation.release(session.runtime, booking, reason=reason, confirmed_too=yes)
    except cancellation.ConfirmationNeededError:
        if not session.interactive:
            raise
        session.confirm(f"Booking {booking} is CONFIRMED. Cancel it, with its money due back?")
        return cancellation.release(session.runtime, booking, reason=reason, confirmed_too=True)
