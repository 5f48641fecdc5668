"""Bookings whose itinerary broke, and what becomes of them."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Disruption:
    """A CONFIRMED booking whose itinerary ``flight_id`` broke (cancelled, or moved away from a connection), and that
    waits to be moved since ``since``."""

    booking_id: str
    flight_id: str
    flight_identifier: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Reaccommodated:
    """What became of one booking of a plan. ``outcome``: moved, cancelled, unchanged or failed; ``delay_minutes``
    (negative: earlier) of one that was moved; ``damaged``: it failed because its own records do not add up."""

    booking_id: str
    outcome: str
    before: str | None
    after: str | None
    delay_minutes: int | None
    detail: str
    damaged: bool = False


@dataclass(frozen=True, slots=True)
class ReaccommodateResult:
    bookings: tuple[Reaccommodated, ...]

    def count(self, outcome: str) -> int:
        return sum(booking.outcome == outcome for booking in self.bookings)
