"""Flights, itineraries and their seats."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from flightctl.views.base import Cell, Fields, View, arrival, clock, day_and_time, duration, local, money, text_of
from flightctl.views.disruptions import AFFECTED, affected

if TYPE_CHECKING:
    from flightctl.core.model.flights import Flight, FlightChange, FlightSeats, Quote
    from flightctl.core.model.itineraries import Itinerary, ItineraryLeg, SearchResult


def _leg(record: ItineraryLeg) -> dict[str, Any]:
    return {
        "flightId": record.flight_id,
        "source": record.source,
        "destination": record.destination,
        "departureTime": local(record.departure_time, record.source),
        "arrivalTime": local(record.arrival_time, record.destination),
        "price": money(record.price),
        "availableSeats": record.available_seats,
    }


def _itinerary(record: Itinerary) -> Fields:
    first, last = record.legs[0], record.legs[-1]
    return {
        "flightIdentifier": record.flight_identifier,
        "type": record.type.value,
        "price": money(record.price),
        "durationMinutes": record.duration_minutes,
        "availableSeats": record.available_seats,
        "departureTime": local(first.departure_time, first.source),
        "arrivalTime": local(last.arrival_time, last.destination),
        "source": first.source,
        "destination": last.destination,
        "hops": len(record.legs),
        "legs": [_leg(leg) for leg in record.legs],
    }


def _legs_as_ids(fields: Fields) -> Fields:
    return {**fields, "legs": [leg["flightId"] for leg in fields["legs"]]}


def _route(fields: Fields) -> str:
    return "→".join([fields["source"], *(leg["destination"] for leg in fields["legs"])])


_DEPARTURE: Final = Cell("depart", lambda fields: day_and_time(fields["departureTime"]))
_ARRIVAL: Final = Cell("arrive", arrival)

ITINERARY: Final = View(
    _itinerary,
    (
        "flightIdentifier", "type", "price", "durationMinutes", "availableSeats", "departureTime", "arrivalTime",
        "source", "destination", "hops", "legs",
    ),
    cells=(
        text_of("hops", right=True),
        Cell("depart", lambda fields: clock(fields["departureTime"])),  # of the day that was asked for
        _ARRIVAL,
        Cell("duration", lambda fields: duration(fields["durationMinutes"]), right=True),
        text_of("price", right=True),
        text_of("availableSeats", "seats", right=True),
        Cell("route", _route),
        text_of("flightIdentifier", "identifier", wide=True),
    ),
    id_keys=("flightIdentifier",),
    flat=_legs_as_ids,
)  # fmt: skip


def search_document(result: SearchResult) -> dict[str, Any]:
    """The page of a search as its JSON has it."""
    return {
        "content": [_itinerary(itinerary) for itinerary in result.content],
        "page": result.page,
        "size": result.size,
        "totalElements": result.total_elements,
        "totalPages": result.total_pages,
        "first": result.page == 0 or result.total_elements == 0,
        "last": result.page >= result.total_pages - 1,
    }


def flight(record: Flight) -> dict[str, Any]:
    return {
        "flightId": record.flight_id,
        "carrier": record.carrier,
        "flightNumber": record.flight_number,
        "source": record.source,
        "destination": record.destination,
        "departureTime": local(record.departure_time, record.source),
        "arrivalTime": local(record.arrival_time, record.destination),
        "departureDate": record.departure_date.isoformat(),
        "totalSeats": record.total_seats,
        "availableSeats": record.available_seats,
        "price": money(record.price),
        "status": record.status.value,
    }


_FLIGHT_COLUMNS: Final = (
    "flightId", "carrier", "flightNumber", "source", "destination", "departureTime", "arrivalTime", "departureDate",
    "totalSeats", "availableSeats", "price", "status",
)  # fmt: skip

FLIGHT: Final = View(
    flight,
    _FLIGHT_COLUMNS,
    cells=(
        text_of("flightId", "flight"),
        Cell("route", lambda fields: f"{fields['source']}→{fields['destination']}"),
        _DEPARTURE,
        _ARRIVAL,
        Cell("seats", lambda fields: f"{fields['availableSeats']}/{fields['totalSeats']}", right=True),
        text_of("price", right=True),
        text_of("status"),
    ),
    id_keys=("flightId",),
)


def _computed(record: Quote) -> Fields:
    first, last = record.flights[0], record.flights[-1]
    return {
        "flightIdentifier": record.flight_identifier,
        "type": record.flight_type.value,
        "flightIds": [leg.flight_id for leg in record.flights],
        "totalPrice": money(record.total_price),
        "availableSeats": min(leg.available_seats for leg in record.flights),
        "source": first.source,
        "destination": last.destination,
        "departureTime": local(first.departure_time, first.source),
        "arrivalTime": local(last.arrival_time, last.destination),
        "durationMinutes": int((last.arrival_time - first.departure_time).total_seconds() // 60),
        "legs": [flight(leg) for leg in record.flights],
    }


QUOTED_FLIGHT: Final = View(lambda quote: flight(quote.flights[0]), _FLIGHT_COLUMNS, id_keys=("flightId",))
COMPUTED: Final = View(
    _computed,
    (
        "flightIdentifier", "type", "flightIds", "totalPrice", "availableSeats", "source", "destination",
        "departureTime", "arrivalTime", "durationMinutes",
    ),
    id_keys=("flightIdentifier",),
    nested=("legs", FLIGHT),
)  # fmt: skip


def _seats(record: FlightSeats) -> Fields:
    return {
        "flightId": record.flight.flight_id,
        "status": record.flight.status.value,
        "totalSeats": record.flight.total_seats,
        "availableSeats": record.flight.available_seats,
        "heldSeats": record.held,
        "confirmedSeats": record.confirmed,
        "cachedSeats": record.cached,
    }


SEATS: Final = View(
    _seats,
    ("flightId", "status", "totalSeats", "availableSeats", "heldSeats", "confirmedSeats", "cachedSeats"),
    id_keys=("flightId",),
)


def _changed_flight(record: FlightChange) -> Fields:
    return flight(record.flight) | {
        "changed": record.changed,
        "bookings": list(record.bookings),
        "refundsDue": money(record.refunds_due),
        "failed": list(record.failed),
        "plan": record.plan,
        "affected": [affected(one) for one in record.affected],
    }


def _affected_as_ids(fields: Fields) -> Fields:
    return {**fields, "affected": [one["bookingId"] for one in fields["affected"]]}


CHANGED_FLIGHT: Final = View(
    _changed_flight,
    (*_FLIGHT_COLUMNS, "changed", "bookings", "refundsDue", "failed", "plan", "affected"),
    id_keys=("flightId",),
    flat=_affected_as_ids,
    nested=("affected", AFFECTED),
)
