"""``flightctl search``."""

from typing import Annotated

import typer

from flightctl.cli import command, command_app, session_of
from flightctl.core import search as use_case
from flightctl.core.model.itineraries import SearchFilters, SearchRequest
from flightctl.session import Session
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
    flex: Annotated[
        int | None, typer.Option(metavar="N", help="Lowest price of each day from N before to N after, 1 to 7.")
    ] = None,
    direct: Annotated[bool, typer.Option("--direct", help="One leg only, as --max-hops 1.")] = False,
    via: Annotated[list[str] | None, typer.Option(metavar="AIRPORT", help="Connect there; repeatable.")] = None,
    avoid: Annotated[list[str] | None, typer.Option(metavar="AIRPORT", help="Never connect there; repeatable.")] = None,
    carrier: Annotated[list[str] | None, typer.Option(metavar="C", help="Of every leg, e.g. 6E; repeatable.")] = None,
    max_price: Annotated[str | None, typer.Option(metavar="P", help="For one seat on all legs, at most.")] = None,
    max_duration: Annotated[
        str | None, typer.Option(metavar="T", help="From departure to arrival, at most: 8h30m or 90m.")
    ] = None,
    depart_between: Annotated[
        str | None, typer.Option(metavar="T-T", help="Local at the origin: 06:00-10:00; may go past midnight.")
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Tell on stderr where the time went, and what came from where.")
    ] = False,
) -> None:
    """Examples:
      flightctl search DEL BLR --date tomorrow
      flightctl search DEL GOI --date 2026-12-01 --seats 2 --sort duration
      flightctl search DEL BLR --date +3d --max-hops 1 -o json
      flightctl search DEL BLR --date today -q | head -1
      flightctl search DEL BLR --date tomorrow --flex 3
      flightctl search DEL GOI --date +3d --via BOM --max-price 9000 --depart-between 06:00-10:00
      flightctl search DEL BLR --date today --explain

    Find itineraries from one airport to another on a date.

    An itinerary has one to three legs, each with the seats asked for. Times are local at each
    airport; the price is for one seat on all legs. Give an identifier to `flightctl book`.

    With --flex it is a fare calendar: the lowest price of each day around the date, shaded from
    low to high. Filters go with it as with all else, and what they leave is counted exactly.

    Exit codes:
      0 also when nothing was found, 2 unknown airport or wrong option, 7 database down
    """
    session = session_of(ctx)
    filters = SearchFilters(
        tuple(via or ()), tuple(avoid or ()), tuple(carrier or ()), max_price, max_duration, depart_between
    )
    request = SearchRequest(
        source,
        destination,
        date,
        seats=seats,
        max_hops=min(max_hops, 1) if direct else max_hops,
        sort=sort.strip().lower(),
        descending=desc,
        page=page,
        size=size,
        filters=filters,
    )
    if flex is None:
        _list(session, request, explain=explain)
    else:
        _calendar(session, request, flex, explain=explain)


def _list(session: Session, request: SearchRequest, *, explain: bool) -> None:
    result = use_case.search(session.runtime, request)
    for warning in result.warnings:
        session.warn(warning)
    with result.trace.timing("render"):
        session.show_rows(ITINERARY, result.content, search_document(result))
    if not result.total_elements and not result.without_filters:
        _tell_unserved(session, request)
    session.show_position(len(result.content), result.page, result.size, result.total_elements)
    if result.without_filters:
        session.note(f"Without the filters there are {result.without_filters}.")
    if explain:
        session.tell(result.trace.lines())


def _calendar(session: Session, request: SearchRequest, flex: int, *, explain: bool) -> None:
    from flightctl.core.calendar import calendar
    from flightctl.views.fares import calendar_document, calendar_view

    result = calendar(session.runtime, request, flex)
    with result.trace.timing("render"):
        session.show_rows(calendar_view(result), result.content, calendar_document(result))
    if not any(day.total_elements for day in result.content) and request.filters == SearchFilters():
        _tell_unserved(session, request)
    if explain:
        session.tell(result.trace.lines())


def _tell_unserved(session: Session, request: SearchRequest) -> None:
    """For people: that no flight uses an airport, or none is loaded for the date, may be why nothing was found."""
    if session.format == "table":
        from flightctl.core.suggest import unserved

        for sentence in unserved(session.runtime, request.source, request.destination, request.date):
            session.note(sentence)
