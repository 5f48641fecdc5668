"""Searches: what is asked, and what is found."""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from flightctl.core.model.states import FlightType
from flightctl.core.search_trace import SearchTrace


class ItineraryLeg(NamedTuple):
    """A leg as search prints it. Times are UTC instants; renderers give them the airport's offset."""

    flight_id: str
    source: str
    destination: str
    departure_time: datetime
    arrival_time: datetime
    price: Decimal
    available_seats: int


class Itinerary(NamedTuple):
    flight_identifier: str
    type: FlightType
    legs: tuple[ItineraryLeg, ...]

    @property
    def price(self) -> Decimal:
        """Per seat, over all legs."""
        return sum((leg.price for leg in self.legs), Decimal(0))

    @property
    def available_seats(self) -> int:
        return min(leg.available_seats for leg in self.legs)

    @property
    def duration_minutes(self) -> int:
        return int((self.legs[-1].arrival_time - self.legs[0].departure_time).total_seconds() // 60)


@dataclass(frozen=True, slots=True)
class SearchResult:
    content: tuple[Itinerary, ...]
    page: int
    size: int
    total_elements: int
    warnings: tuple[str, ...] = field(default=())
    trace: SearchTrace = field(default_factory=SearchTrace, compare=False)
    without_filters: int | None = None
    """How many there would be, where the filters leave none."""

    @property
    def total_pages(self) -> int:
        return -(-self.total_elements // self.size)


def itinerary_identifier(flight_ids: tuple[str, ...], source: str, destination: str) -> str:
    """The flight id itself for one leg, ``CF_SRC_DST_id_id…`` for more."""
    return flight_ids[0] if len(flight_ids) == 1 else "_".join(("CF", source, destination, *flight_ids))


class SearchFilters(NamedTuple):
    """As typed; the first three hold airports or carriers, or lists of them with commas."""

    via: tuple[str, ...] = ()
    avoid: tuple[str, ...] = ()
    carriers: tuple[str, ...] = ()
    max_price: str | None = None
    max_duration: str | None = None
    depart_between: str | None = None


class SearchRequest(NamedTuple):
    """``date``: ``YYYY-MM-DD``, ``today`` (the origin's), ``tomorrow`` or ``+3d``; ``sort``: a key of the result."""

    source: str
    destination: str
    date: str
    seats: int = 1
    max_hops: int = 3
    sort: str = "price"
    descending: bool = False
    page: int = 0
    size: int = 20
    filters: SearchFilters = SearchFilters()
