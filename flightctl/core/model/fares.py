"""Fare calendars."""

from dataclasses import dataclass, field
from datetime import date

from flightctl.core.model.itineraries import Itinerary
from flightctl.core.search_trace import SearchTrace


@dataclass(frozen=True, slots=True)
class FareDay:
    """``date`` is local at the origin; ``cheapest`` is None on a day without an itinerary, and on one that is past."""

    date: date
    cheapest: Itinerary | None
    total_elements: int


@dataclass(frozen=True, slots=True)
class FareCalendar:
    """The lowest price of each day around ``date``, for a party of ``seats``; prices are per seat."""

    source: str
    destination: str
    seats: int
    date: date
    content: tuple[FareDay, ...]
    trace: SearchTrace = field(default_factory=SearchTrace, compare=False)
