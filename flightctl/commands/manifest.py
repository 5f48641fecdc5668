"""``flightctl manifest``."""

from typing import Annotated

import typer

from flightctl.cli import command, command_app, session_of
from flightctl.views.bookings import MANIFEST

app = command_app()


@command(app, "manifest")
def manifest(
    ctx: typer.Context,
    flight_id: Annotated[str, typer.Argument(metavar="FLIGHT", help="Its id, e.g. 6E203-20261201.")],
    all_: Annotated[bool, typer.Option("--all", help="Bookings that have ended, too.")] = False,
) -> None:
    """Examples:
      flightctl manifest 6E203-20261201
      flightctl manifest 6E203-20261201 -o csv > manifest.csv
      flightctl manifest 6E203-20261201 --all -o json

    List the bookings on a flight.

    Those that have seats on it, PENDING and CONFIRMED, or with --all every one there ever was. paid
    is for the whole booking, with all its legs.

    Exit codes:
      0 also when there are none, 3 no such flight, 7 database down
    """
    from flightctl.core.manifest import manifest as entries

    session = session_of(ctx)
    session.show_all(MANIFEST, entries(session.runtime, flight_id, ended_too=all_))
