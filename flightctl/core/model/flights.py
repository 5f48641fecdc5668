"""Flights, their seats and what a change of one does."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from flightctl.core.model.states import BookingStatus, FlightStatus, FlightType


@dataclass(frozen=True, slots=True)
class Flight:
    """One departure of one aircraft on one date."""

    flight_id: str
    source: str
    destination: str
    departure_time: datetime
    arrival_time: datetime
    departure_date: date
    total_seats: int
    available_seats: int
    seat_version: int
    price: Decimal
    status: FlightStatus
    carrier: str | None = None
    flight_number: str | None = None


@dataclass(frozen=True, slots=True)
class Quote:
    """What an itinerary identifier stands for now."""

    flight_identifier: str
    flight_type: FlightType
    flights: tuple[Flight, ...]

    @property
    def total_price(self) -> Decimal:
        """Per seat, over all legs."""
        return sum((flight.price for flight in self.flights), Decimal(0))


@dataclass(frozen=True, slots=True)
class FlightSeats:
    """Where a flight's seats are. ``cached`` is what Redis says (None: nothing)."""

    flight: Flight
    held: int
    confirmed: int
    cached: int | None = None


@dataclass(frozen=True, slots=True)
class AffectedBooking:
    """What a change of its flight makes of a booking. ``refund`` goes back; ``disrupted``: it waits to be moved."""

    booking_id: str
    user_id: str
    seats: int
    before: BookingStatus
    after: BookingStatus
    disrupted: bool
    refund: Decimal


@dataclass(frozen=True, slots=True)
class FlightChange:
    """Of ``flights add``, ``update`` and ``cancel``. ``bookings``: those that a cancellation ended; ``refunds_due``:
    the money of these that goes back; ``failed``: bookings that could not be ended now (the sweep will); ``affected``:
    every booking that the change does something to; ``plan``: the file that was written."""

    flight: Flight
    changed: bool
    bookings: tuple[str, ...] = ()
    refunds_due: Decimal = Decimal(0)
    failed: tuple[str, ...] = ()
    affected: tuple[AffectedBooking, ...] = ()
    plan: str | None = None


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """A booking on a flight, which is its ``leg_order``-th of ``legs``; ``paid`` is what was paid for the whole booking
    and is not to go back, None: nothing."""

    booking_id: str
    user_id: str
    seats: int
    status: BookingStatus
    flight_identifier: str
    leg_order: int
    legs: int
    total_price: Decimal
    paid: Decimal | None
    created_at: datetime
