"""``flightctl top``."""

from typing import Annotated

import typer

from flightctl.cli import command, command_app, session_of
from flightctl.core.durations import parse_duration
from flightctl.core.errors import ValidationError

app = command_app()


@command(app, "top")
def top(
    ctx: typer.Context,
    interval: Annotated[str, typer.Option(metavar="2s", help="Between looks at the database, 200ms to 1h.")] = "2s",
    once: Annotated[bool, typer.Option("--once", help="One frame, then end.")] = False,
) -> None:
    """Examples:
      flightctl top
      flightctl top --interval 5s
      flightctl top --once
      flightctl top -o json | jq .holds

    Watch bookings, holds, sweep, payments, refunds and the hottest flights.

    On a terminal it draws until q or Ctrl-C; it stays when the database goes away, and says so.
    In a pipe, with --once, and as JSON or CSV, it takes one look.

    Exit codes:
      0 ended by q or Ctrl-C, or one look taken, 2 wrong option, 7 database down (one look only)
    """
    session = session_of(ctx)
    seconds = parse_duration(interval, "--interval")
    if not 0.2 <= seconds <= 3600:
        raise ValidationError("--interval goes from 200ms to 1h")
    if session.for_people and not once:
        from flightctl.top_live import watch

        watch(session.runtime, seconds, color=session.color)
        return
    from flightctl.core import overview
    from flightctl.views.overview import ROW, overview_document, overview_rows

    look = overview.look(session.runtime)
    if session.for_people:
        from flightctl.top_live import show_once

        show_once(session.runtime, look, color=session.color)
        return
    document = overview_document(look)
    session.show_rows(ROW, list(overview_rows(document)), document)
