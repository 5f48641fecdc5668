"""``flightctl confirm``."""

from typing import Annotated

import typer

from flightctl.cli import command, command_app, session_of
from flightctl.core import settlement

app = command_app()


@command(app, "confirm")
def confirm(
    ctx: typer.Context, booking: Annotated[str, typer.Argument(metavar="BOOKING", help="Its id, e.g. K7QX2M.")]
) -> None:
    """Examples:
      flightctl confirm K7QX2M
      flightctl confirm K7QX2M --actor counter-3 -o json

    Confirm a booking as paid at the counter.

    Its latest payment is settled with the source AGENT and its seats stay taken. A booking that
    has expired is confirmed as well if its seats can still be had. Confirming a CONFIRMED booking
    changes nothing.

    Exit codes:
      0 confirmed, 3 no such booking, 6 expired and the seats are gone, or failed or cancelled
    """
    session = session_of(ctx)
    result = settlement.confirm(session.runtime, booking)
    session.show(result)
    if not result.changed:
        session.note(f"Nothing changed: booking {result.booking.booking_id} was {result.booking.status.value} already.")
