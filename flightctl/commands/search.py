"""``flightctl search``."""

from typing import Annotated

import typer

from flightctl.cli import command, command_app, session_of
from flightctl.core import search as use_case
from flightctl.core.model import SearchRequest
from flightctl.views.flights import ITINERARY, search_document

app = command_app()


@command(app, "search")
def search(
    ctx: typer.Context,
    source: Annotated[str, typer.Argument(metavar="SRC", help="Airport of departure, e.g. DEL.")],
    destination: Annotated[str, typer.Argument(metavar="DST", help="Airport of arrival, e.g. BLR.")],
    date: Annotated[str, typer.Option(metavar="D", help="YYYY-MM-DD, today, tomorrow or +3d; at the origin.")],
    seats: Annotated[int, typer.Option(metavar="N", help="Seats that every leg must have.")] = 1,
    max_hops: Annotated[int, typer.Option(metavar="N", help="Legs at most, 1 to 3.")] = 3,
    sort: Annotated[str, typer.Option(metavar="KEY", help="price, duration or departure.")] = "price",
    desc: Annotated[bool, typer.Option("--desc", help="Highest first.")] = False,
    page: Annotated[int, typer.Option(metavar="N", help="Page to show; the first is 0.")] = 0,
    size: Annotated[int, typer.Option(metavar="N", help="Itineraries a page, 1 to 100.")] = 20,
    explain: Annotated[
        bool, typer.Option("--explain", help="Tell on stderr where the time went, and what came from where.")
    ] = False,
) -> None:
    """Examples:
      flightctl search DEL BLR --date tomorrow
      flightctl search DEL GOI --date 2026-12-01 --seats 2 --sort duration
      flightctl search DEL BLR --date +3d --max-hops 1 -o json
      flightctl search DEL BLR --date today -q | head -1
      flightctl search DEL BLR --date today --explain

    Find itineraries from one airport to another on a date.

    An itinerary has one to three legs, each with the seats asked for. Times are local at each
    airport; the price is for one seat on all legs. Give an identifier to `flightctl book`.

    Exit codes:
      0 also when nothing was found, 2 unknown airport or wrong option, 7 database down
    """
    session = session_of(ctx)
    request = SearchRequest(
        source, destination, date, seats=seats, max_hops=max_hops, sort=sort, descending=desc, page=page, size=size
    )
    result = use_case.search(session.runtime, request)
    for warning in result.warnings:
        session.warn(warning)
    with result.trace.timing("render"):
        session.show_rows(ITINERARY, result.content, search_document(result))
    if not result.total_elements and session.format == "table":
        from flightctl.core.suggest import unserved

        for sentence in unserved(session.runtime, source, destination):
            session.note(sentence)
    session.show_position(len(result.content), result.page, result.size, result.total_elements)
    if explain:
        session.tell(result.trace.lines())
