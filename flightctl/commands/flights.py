"""``flightctl flights``."""

from typing import Annotated

import typer

from flightctl.cli import command, group_app, session_of
from flightctl.core.model.flights import FlightChange
from flightctl.session import Session
from flightctl.views.flights import FLIGHT

FlightId = Annotated[str, typer.Argument(metavar="ID", help="Of the flight, e.g. 6E203-20261201.")]

app = group_app(
    "flights",
    """Examples:
      flightctl flights list --source DEL --date tomorrow
      flightctl flights show 6E203-20261201
      flightctl flights cancel 6E203-20261201 --reason "fog"

    Show, list, add, change and cancel flights.
    """,
)


@command(app, "list")
def list_(
    ctx: typer.Context,
    source: Annotated[str | None, typer.Option(metavar="SRC", help="Leaving from this airport.")] = None,
    destination: Annotated[str | None, typer.Option(metavar="DST", help="Going to this airport.")] = None,
    date: Annotated[str | None, typer.Option(metavar="D", help="Leaving on this local date.")] = None,
    status: Annotated[str | None, typer.Option(metavar="S", help="ACTIVE or CANCELLED.")] = None,
    page: Annotated[int, typer.Option(metavar="N", help="Page to show; the first is 0.")] = 0,
    size: Annotated[int, typer.Option(metavar="N", help="Flights a page.")] = 50,
) -> None:
    """Examples:
      flightctl flights list
      flightctl flights list --source DEL --destination BLR --date tomorrow
      flightctl flights list --status CANCELLED -o csv

    List flights, the latest departure first.

    Exit codes:
      0 also when there are none, 2 unknown airport or wrong option, 7 database down
    """
    from flightctl.core import lists

    session = session_of(ctx)
    found = lists.list_flights(
        session.runtime, source=source, destination=destination, date=date, status=status, page=page, size=size
    )
    session.show_page(FLIGHT, found)


@command(app, "show")
def show(
    ctx: typer.Context,
    identifier: Annotated[str, typer.Argument(metavar="ID", help="A flight id, or a `CF_…` identifier.")],
) -> None:
    """Examples:
      flightctl flights show 6E203-20261201
      flightctl flights show CF_DEL_BLR_6E203-20261201_6E511-20261201 -o json

    Show one flight, or the legs and the price of an itinerary.

    Exit codes:
      0 shown, 3 no such flight, 7 database down
    """
    from flightctl.core import flights

    session = session_of(ctx)
    session.show(flights.show(session.runtime, identifier))


@command(app, "seats")
def seats(ctx: typer.Context, flight_id: FlightId) -> None:
    """Examples:
      flightctl flights seats 6E203-20261201
      flightctl flights seats 6E203-20261201 -o json

    Tell where a flight's seats are: free, held, confirmed, and what the cache says.

    Exit codes:
      0 shown, 3 no such flight, 7 database down
    """
    from flightctl.core import flights

    session = session_of(ctx)
    session.show(flights.seats(session.runtime, flight_id))


@command(app, "sales")
def sales(
    ctx: typer.Context,
    flight_id: FlightId,
    by: Annotated[str | None, typer.Option(metavar="day|hour", help="What one point stands for, in UTC.")] = None,
) -> None:
    """Examples:
      flightctl flights sales 6E203-20261201
      flightctl flights sales 6E203-20261201 --by hour -o csv > sales.csv
      flightctl flights sales 6E203-20261201 -o json | jq '.points[-1].confirmedSeats'

    Show a flight's sales over time, as a small plot.

    From its first booking to now, or to its departure: seats held, confirmed and given back in each
    hour or day, and how many were held and confirmed at its end. Without --by it takes hours for
    sales of up to three days, days for longer ones.

    Exit codes:
      0 also when nothing was sold, 2 wrong option, 3 no such flight, 7 database down
    """
    from flightctl.core.sales import sales as sales_of
    from flightctl.views.sales import ROW, SALES, rows

    session = session_of(ctx)
    found = sales_of(session.runtime, flight_id, by=by)
    if session.for_people:
        from flightctl.render_terminal import terminal_width
        from flightctl.sales_plot import plot

        session.show_text("".join(f"{line}\n" for line in plot(found, terminal_width())))
    elif session.quiet or session.format == "json":
        session.show_as(SALES, found)
    else:
        session.show_rows(ROW, rows(found), {})


@command(app, "add")
def add(
    ctx: typer.Context,
    flight: Annotated[str, typer.Argument(metavar="FLIGHT", help="Carrier and number, e.g. 6E203.")],
    source: Annotated[str, typer.Option(metavar="SRC", help="Airport of departure.")],
    destination: Annotated[str, typer.Option(metavar="DST", help="Airport of arrival.")],
    departure: Annotated[str, typer.Option(metavar="TIME", help="Local, YYYY-MM-DDTHH:MM.")],
    arrival: Annotated[str, typer.Option(metavar="TIME", help="Local at the destination.")],
    price: Annotated[str, typer.Option(metavar="P", help="For one seat, e.g. 5400 or 5400.50.")],
    seats: Annotated[int, typer.Option(metavar="N", help="Seats of the aircraft.")] = 180,
) -> None:
    """Examples:
      flightctl flights add 6E999 --source DEL --destination BLR \\
          --departure 2026-12-01T06:10 --arrival 2026-12-01T08:55 --price 5400 --seats 180

    Add one flight.

    Its id is made of the flight and the local date of departure. Adding what is there already
    changes nothing.

    Exit codes:
      0 added, 2 wrong airport, time, price or seats, 6 it is there with other values, 7 database
      down
    """
    from flightctl.core import flights

    session = session_of(ctx)
    change = flights.add(
        session.runtime,
        flight=flight,
        source=source,
        destination=destination,
        departure=departure,
        arrival=arrival,
        seats=seats,
        price=price,
    )
    _show_change(session, change)


@command(app, "update")
def update(
    ctx: typer.Context,
    flight_id: FlightId,
    departure: Annotated[str | None, typer.Option(metavar="TIME", help="Local, YYYY-MM-DDTHH:MM.")] = None,
    arrival: Annotated[str | None, typer.Option(metavar="TIME", help="Local at the destination.")] = None,
    price: Annotated[str | None, typer.Option(metavar="P", help="For one seat; bookings keep theirs.")] = None,
    seats: Annotated[int | None, typer.Option(metavar="N", help="Total seats; not below those taken.")] = None,
    plan: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write a plan for bookings that no longer connect.")
    ] = None,
) -> None:
    """Examples:
      flightctl flights update 6E203-20261201 --price 4999
      flightctl flights update 6E203-20261201 --departure 2026-12-01T07:00 --arrival 2026-12-01T09:45
      flightctl flights update 6E203-20261201 --seats 186
      flightctl flights update 6E203-20261201 --departure 2026-12-01T09:00 --plan plan.json

    Change a flight's times, price or seats.

    CONFIRMED bookings whose connections the new times break are marked as disrupted: they stay as
    they are until `flightctl reaccommodate` moves them by the plan.

    Exit codes:
      0 changed, 2 wrong value or nothing to change, 3 no such flight, 6 more seats are taken than
      would be left, 7 database down
    """
    from flightctl.core import flights

    session = session_of(ctx)
    change = flights.update(
        session.runtime, flight_id, departure=departure, arrival=arrival, price=price, seats=seats, plan=plan
    )
    _show_change(session, change)
    if change.affected and plan is None:
        session.warn(
            f"{len(change.affected)} booking(s) no longer connect and wait to be moved;"
            f" `flightctl flights update {change.flight.flight_id} --plan FILE` writes a plan"
        )


@command(app, "cancel")
def cancel(
    ctx: typer.Context,
    flight_id: FlightId,
    reason: Annotated[str | None, typer.Option(metavar="T", help="Kept in the bookings' history.")] = None,
    plan: Annotated[
        str | None, typer.Option(metavar="FILE", help="Keep CONFIRMED bookings, and write a plan to move them.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Examples:
      flightctl flights cancel 6E203-20261201 --reason "fog at DEL"
      flightctl flights cancel 6E203-20261201 --yes -o json
      flightctl flights cancel 6E203-20261201 --plan plan.json --yes

    Cancel a flight and its bookings.

    PENDING and CONFIRMED bookings become CANCELLED and their money is due back. With --plan CONFIRMED
    ones stay so and are marked as disrupted, and a plan is written that `flightctl reaccommodate`
    applies. On a terminal it lists the bookings and asks for the flight's id; elsewhere it wants --yes.

    Exit codes:
      0 cancelled (bookings in use just then are left to the sweep), 2 --yes is missing, or the plan
      cannot be written, 3 no such flight, 7 database down
    """
    from flightctl.core import flights

    session = session_of(ctx)
    if not yes:
        _ask(session, flights.preview_cancel(session.runtime, flight_id, with_plan=plan is not None))
    _show_change(session, flights.cancel(session.runtime, flight_id, reason=reason, plan=plan))


def _ask(session: Session, preview: FlightChange) -> None:
    """List what would become of the bookings, and have the flight's id typed. Raises where nobody can be asked."""
    name, count = preview.flight.flight_id, len(preview.affected)
    for one in preview.affected:
        becomes = "waits to be moved" if one.disrupted else f"{one.after.value}, {one.refund} due back"
        session.note(f"{one.booking_id}  {one.before.value}, {one.seats} seat(s) of {one.user_id}: {becomes}")
    session.require_typed(
        f"Type {name} to cancel the flight, with its {count} booking(s)",
        name,
        doing=f"cancelling flight {name} changes {count} booking(s)",
    )


def _show_change(session: Session, change: FlightChange) -> None:
    session.show(change)
    if not change.changed:
        session.note(f"Nothing changed: flight {change.flight.flight_id} was so already.")
    if change.plan is not None:
        session.note(f"The plan is in {change.plan}; `flightctl reaccommodate {change.plan}` applies it.")
    if change.failed:
        session.warn(f"bookings left to the sweep: {', '.join(change.failed)}")
