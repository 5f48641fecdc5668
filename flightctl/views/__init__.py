"""Records as users see them: one ``View`` for each kind, from which JSON, CSV, plain and terminal tables follow.

Modules by area; ``base`` holds what they share.
"""

from importlib import import_module
from typing import Any, Final

from flightctl.views.base import View

_VIEWS: Final = {
    "ArchiveResult": ("operations", "ARCHIVED"),
    "BookResult": ("bookings", "BOOKED"),
    "Booking": ("bookings", "BOOKING"),
    "CallbackResult": ("payments", "CALLBACK"),
    "ChangeResult": ("bookings", "CHANGED_BOOKING"),
    "ExtendResult": ("holds", "EXTENDED"),
    "Flight": ("flights", "FLIGHT"),
    "FlightChange": ("flights", "CHANGED_FLIGHT"),
    "FlightSeats": ("flights", "SEATS"),
    "Hold": ("holds", "HOLD"),
    "Payment": ("payments", "PAYMENT"),
    "PackResult": ("operations", "PACKED"),
    "PrecomputeResult": ("operations", "PRECOMPUTED"),
    "ProcessResult": ("payments", "PROCESSED"),
    "Quote": ("flights", "COMPUTED"),
    "RefundQuote": ("bookings", "QUOTE"),
    "RefundResult": ("payments", "REFUNDED"),
    "Rehearsal": ("payments", "REHEARSED"),
    "SeedResult": ("operations", "SEEDED"),
    "SignedCallback": ("payments", "SIGNED"),
    "SweepResult": ("operations", "SWEPT"),
}
"""Of each record: the module and the name of its view. Names, so that a command loads only what it shows."""


def view_of(record: Any) -> View:
    """The view of a single record, by its type."""
    area, name = _VIEWS[type(record).__name__]
    if name == "COMPUTED" and len(record.flights) == 1:  # one flight is shown as that flight
        name = "QUOTED_FLIGHT"
    view: View = getattr(import_module(f"flightctl.views.{area}"), name)
    return view
