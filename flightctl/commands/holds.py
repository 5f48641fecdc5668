"""``flightctl holds``."""

from typing import Annotated

import typer

from flightctl.cli import command, group_app, session_of
from flightctl.core.durations import parse_duration
from flightctl.core.errors import LockAcquisitionFailedError, UsageError
from flightctl.session import Session

app = group_app(
    "holds",
    """Examples:
      flightctl holds list --flight 6E203-20261201
      flightctl holds extend K7QX2M --by 10m
      flightctl holds extend --all --by 10m --reason "gateway outage"

    List the holds that are running, and extend them.
    """,
)


@command(app, "list")
def list_(
    ctx: typer.Context,
    flight: Annotated[str | None, typer.Option(metavar="F", help="With this flight among the legs.")] = None,
    user: Annotated[str | None, typer.Option(metavar="U", help="Of this user.")] = None,
    page: Annotated[int, typer.Option(metavar="N", help="Page to show; the first is 0.")] = 0,
    size: Annotated[int, typer.Option(metavar="N", help="Holds a page.")] = 50,
) -> None:
    """Examples:
      flightctl holds list
      flightctl holds list --flight 6E203-20261201
      flightctl holds list --user asha -o json

    List the bookings that hold seats and wait for their payment, newest first, with the time left.

    All legs of a booking lapse together. One that has lapsed stays in the list until it is swept.

    Exit codes:
      0 also when there are none, 2 wrong option, 7 database down
    """
    from flightctl.core import holds
    from flightctl.views.holds import HOLD

    session = session_of(ctx)
    session.show_page(HOLD, holds.list_holds(session.runtime, flight=flight, user=user, page=page, size=size))


@command(app, "extend")
def extend(
    ctx: typer.Context,
    by: Annotated[str, typer.Option(metavar="10m", help="How much longer, 1s to 24h.")],
    booking: Annotated[str | None, typer.Argument(metavar="BOOKING", help="Its id, e.g. K7QX2M.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every hold that is running.")] = False,
    reason: Annotated[str | None, typer.Option(metavar="T", help="Kept in the bookings' history.")] = None,
) -> None:
    """Examples:
      flightctl holds extend K7QX2M --by 10m
      flightctl holds extend K7QX2M --by 10m --reason "customer at the counter"
      flightctl holds extend --all --by 10m --reason "gateway outage" -o json

    Let a hold run longer, or with --all every one.

    A hold never outlives the first departure, nor a day in all; one that goes that far already
    stays as it is. What has lapsed is not extended, swept or not.

    Exit codes:
      0 extended, or it goes as far as it may, 2 wrong option, 3 no such booking, 6 lapsed or not
      PENDING, 7 database down, or rows stayed locked by others
    """
    session = session_of(ctx)
    seconds = parse_duration(by, "--by")
    if everything == (booking is not None):
        raise UsageError("name one BOOKING, or pass --all", hint="See `flightctl holds extend --help`.")
    if booking is None:
        _extend_all(session, seconds, reason)
        return
    from flightctl.core import holds

    result = holds.extend(session.runtime, booking, by_seconds=seconds, reason=reason)
    session.show(result)
    if not result.changed:
        session.note("Nothing changed: the hold goes as far as it may already, to the departure or a day in all.")


def _extend_all(session: Session, seconds: float, reason: str | None) -> None:
    from flightctl.core import holds

    result = holds.extend_all(session.runtime, by_seconds=seconds, reason=reason)
    session.show(result)
    if result.failed:
        raise LockAcquisitionFailedError(
            f"{len(result.failed)} hold(s) could not be extended: their rows stayed locked by others",
            hint="Extend those by their ids.",
            details={"failed": [failed.booking_id for failed in result.failed]},
        )
