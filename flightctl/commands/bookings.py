"""``flightctl bookings``."""

from typing import Annotated

import typer

from flightctl.cli import command, group_app, session_of
from flightctl.core import lists
from flightctl.views.bookings import BOOKING, EVENT

BookingId = Annotated[str, typer.Argument(metavar="BOOKING", help="Its id, e.g. K7QX2M.")]

app = group_app(
    "bookings",
    """Examples:
      flightctl bookings show K7QX2M
      flightctl bookings list --user asha --status PENDING
      flightctl bookings history K7QX2M

    Show, list and trace bookings.
    """,
)


@command(app, "show")
def show(ctx: typer.Context, booking: BookingId) -> None:
    """Examples:
      flightctl bookings show K7QX2M
      flightctl bookings show k7qx2m -o json

    Show one booking as it stands now.

    Exit codes:
      0 shown, 3 no such booking, 7 database down
    """
    session = session_of(ctx)
    session.show(lists.show_booking(session.runtime, booking))


@command(app, "list")
def list_(
    ctx: typer.Context,
    user: Annotated[str | None, typer.Option(metavar="U", help="Of this user.")] = None,
    status: Annotated[
        str | None, typer.Option(metavar="S", help="PENDING, CONFIRMED, FAILED, CANCELLED or EXPIRED.")
    ] = None,
    flight: Annotated[str | None, typer.Option(metavar="F", help="With this flight among their legs.")] = None,
    page: Annotated[int, typer.Option(metavar="N", help="Page to show; the first is 0.")] = 0,
    size: Annotated[int, typer.Option(metavar="N", help="Bookings a page.")] = 50,
) -> None:
    """Examples:
      flightctl bookings list
      flightctl bookings list --user asha --status PENDING
      flightctl bookings list --flight 6E203-20261201 -q
      flightctl bookings list --size 100 -o csv > bookings.csv

    List bookings, newest first.

    Exit codes:
      0 also when there are none, 2 wrong option, 7 database down
    """
    session = session_of(ctx)
    found = lists.list_bookings(session.runtime, user=user, status=status, flight=flight, page=page, size=size)
    session.show_page(BOOKING, found)


@command(app, "history")
def history(
    ctx: typer.Context,
    booking: BookingId,
    page: Annotated[int, typer.Option(metavar="N", help="Page to show; the first is 0.")] = 0,
    size: Annotated[int | None, typer.Option(metavar="N", help="Events a page; all when not given.")] = None,
) -> None:
    """Examples:
      flightctl bookings history K7QX2M
      flightctl bookings history K7QX2M -o json

    Tell what happened to a booking, when, and by whom, oldest first.

    Exit codes:
      0 shown, 2 wrong option, 3 no such booking, 7 database down
    """
    session = session_of(ctx)
    session.show_page(EVENT, lists.booking_history(session.runtime, booking, page=page, size=size))
