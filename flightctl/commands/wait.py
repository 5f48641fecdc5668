"""``flightctl wait``."""

from typing import Annotated

import typer

from flightctl.cli import command, command_app, session_of
from flightctl.core.durations import parse_duration

app = command_app()


@command(app, "wait")
def wait(
    ctx: typer.Context,
    booking: Annotated[str, typer.Argument(metavar="BOOKING", help="Its id, e.g. K7QX2M.")],
    for_: Annotated[
        str,
        typer.Option(
            "--for", metavar="STATE", help="confirmed, failed, cancelled or expired, some with commas; ended: any."
        ),
    ] = "confirmed",
    timeout: Annotated[str, typer.Option(metavar="60s", help="How long; 0s looks once.")] = "60s",
) -> None:
    """Examples:
      flightctl wait K7QX2M --for confirmed --timeout 60s
      flightctl wait K7QX2M --for ended -o json
      flightctl wait K7QX2M --for failed,expired --timeout 5m

    Wait until a booking comes to a state.

    It prints the booking as it then stands. A database that goes away meanwhile is waited for.

    Exit codes:
      0 reached, 3 no such booking, 6 it expired, was cancelled or confirmed instead, 8 not within
      --timeout, 11 its payment was declined instead
    """
    from flightctl.core import waiting

    session = session_of(ctx)
    wanted = waiting.states(for_)
    session.show(waiting.wait(session.runtime, booking, wanted, parse_duration(timeout, "--timeout")))
