"""Records as users see them: one ``View`` for each kind, from which JSON, CSV, plain and terminal tables follow.

Modules by area; ``base`` holds what they share.
"""

from typing import Any

from flightctl.views.base import View


def view_of(record: Any) -> View:
    """The view of a single record, by its type."""
    from flightctl.core import model
    from flightctl.views import bookings, flights, holds, operations, payments

    if isinstance(record, model.Quote):  # one flight is shown as that flight
        return flights.COMPUTED if len(record.flights) > 1 else flights.QUOTED_FLIGHT
    by_type: dict[type, View] = {
        model.BookResult: bookings.BOOKED,
        model.Booking: bookings.BOOKING,
        model.ChangeResult: bookings.CHANGED_BOOKING,
        model.CallbackResult: payments.CALLBACK,
        model.ExtendResult: holds.EXTENDED,
        model.Flight: flights.FLIGHT,
        model.FlightChange: flights.CHANGED_FLIGHT,
        model.FlightSeats: flights.SEATS,
        model.Payment: payments.PAYMENT,
        model.Hold: holds.HOLD,
        model.PrecomputeResult: operations.PRECOMPUTED,
        model.ProcessResult: payments.PROCESSED,
        model.RefundQuote: bookings.QUOTE,
        model.RefundResult: payments.REFUNDED,
        model.Rehearsal: payments.REHEARSED,
        model.SeedResult: operations.SEEDED,
        model.SignedCallback: payments.SIGNED,
        model.SweepResult: operations.SWEPT,
        model.ArchiveResult: operations.ARCHIVED,
    }
    return by_type[type(record)]
