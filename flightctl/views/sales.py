"""A flight's sales: the JSON document, and one row a point for programs. The plot is ``sales_plot``'s."""

from typing import Any, Final

from flightctl.core.sales import Sales, SalesPoint
from flightctl.views.base import Fields, View, instant


def _point(point: SalesPoint) -> dict[str, Any]:
    return {
        "at": instant(point.at),
        "held": point.held,
        "confirmed": point.confirmed,
        "givenBack": point.given_back,
        "heldSeats": point.held_seats,
        "confirmedSeats": point.confirmed_seats,
    }


def _document(sales: Sales) -> Fields:
    return {
        "flightId": sales.flight.flight_id,
        "status": sales.flight.status.value,
        "totalSeats": sales.flight.total_seats,
        "by": sales.span.value,
        "points": [_point(point) for point in sales.points],
    }


def rows(sales: Sales) -> list[Fields]:
    """The points, each with its flight: the rows of several flights may stand in one file."""
    return [{"flightId": sales.flight.flight_id, **_point(point)} for point in sales.points]


SALES: Final = View(
    _document,
    ("flightId", "status", "totalSeats", "by", "points"),
    id_keys=("flightId",),
    flat=lambda fields: {**fields, "points": [point["confirmedSeats"] for point in fields["points"]]},
)
ROW: Final = View(
    dict, ("flightId", "at", "held", "confirmed", "givenBack", "heldSeats", "confirmedSeats"), id_keys=("flightId",)
)
