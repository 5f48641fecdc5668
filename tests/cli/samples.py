"""One record of every kind, with values that are hard to print."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from flightctl.core.grants import Grant, Role
from flightctl.core.model.bookings import (
    Booking,
    BookingEvent,
    BookResult,
    ChangeResult,
    ExtendResult,
    Hold,
    RefundQuote,
    Skipped,
)
from flightctl.core.model.disruptions import Reaccommodated
from flightctl.core.model.fares import FareCalendar, FareDay
from flightctl.core.model.flights import AffectedBooking, Flight, FlightChange, FlightSeats, ManifestEntry, Quote
from flightctl.core.model.itineraries import Itinerary, ItineraryLeg
from flightctl.core.model.operations import ArchiveResult, DoctorCheck, PrecomputeResult, SweepResult, Violation
from flightctl.core.model.payments import (
    CallbackRequest,
    CallbackResult,
    LatePayment,
    Payment,
    ProcessResult,
    RefundResult,
    Rehearsal,
    SignedCallback,
)
from flightctl.core.model.schedules import (
    DifferenceKind,
    ExportedRow,
    FieldChange,
    FlightDifference,
    ImportOutcome,
    SeedResult,
)
from flightctl.core.model.states import (
    BookingStatus,
    CallbackStatus,
    FlightStatus,
    FlightType,
    PaymentSource,
    PaymentStatus,
    RefundStatus,
)
from flightctl.core.sales import Sales, SalesPoint, Span
from flightctl.views import bookings, disruptions, fares, flights, holds, operations, payments, sales, schedules
from flightctl.views.base import View

AT = datetime(2026, 12, 1, 0, 40, 12, tzinfo=UTC)
LATE = datetime(2026, 12, 1, 20, 5, tzinfo=UTC)

FLIGHT = Flight(
    "6E203-20261201", "DEL", "DXB", AT.replace(second=0), LATE, date(2026, 12, 1), 180, 12, 7, Decimal("5400"),
    FlightStatus.ACTIVE, "6E", "203",
)  # fmt: skip
LEG = ItineraryLeg("6E203-20261201", "DEL", "DXB", FLIGHT.departure_time, LATE, Decimal("5400.5"), 12)
ITINERARY = Itinerary("CF_DEL_DXB_A1-20261201_B2-20261201", FlightType.COMPUTED, (LEG, LEG))
BOOKING = Booking(
    "K7QX2M", "tab\there\nüser", FlightType.COMPUTED, "CF_DEL_DXB_A1-20261201_B2-20261201", 2, Decimal("10800"),
    BookingStatus.PENDING, ("A1-20261201", "B2-20261201"), AT, AT.replace(microsecond=120), AT, "pay-1", 'key "1"',
)  # fmt: skip
PAYMENT = Payment("pay-1", "K7QX2M", Decimal("10800"), PaymentStatus.SUCCESS, PaymentSource.GATEWAY, None, AT, AT)
EVENT = BookingEvent("K7QX2M", AT, "asha", None, BookingStatus.PENDING, "booked")
SALES = Sales(FLIGHT, Span.DAY, (SalesPoint(AT.replace(hour=0, minute=0, second=0), 5, 3, 1, 1, 3),))

CALENDAR = FareCalendar(
    "DEL", "DXB", 2, date(2026, 12, 1),
    (FareDay(date(2026, 12, 1), ITINERARY, 7), FareDay(date(2026, 12, 2), None, 0)),
)  # fmt: skip

RECORDS: list[tuple[View, Any]] = [
    (bookings.BOOKING, BOOKING),
    (bookings.BOOKED, BookResult(BOOKING, False)),
    (bookings.CHANGED_BOOKING, ChangeResult(BOOKING, True)),
    (bookings.EVENT, EVENT),
    (payments.PAYMENT, PAYMENT),
    (payments.REFUNDED, RefundResult(PAYMENT, True)),
    (payments.CALLBACK, CallbackResult("pay-1", "K7QX2M", PAYMENT.status, BOOKING.status, True)),
    (payments.PROCESSED, ProcessResult(1, 1, errors=("pay-1: no",))),
    (flights.ITINERARY, ITINERARY),
    (flights.FLIGHT, FLIGHT),
    (flights.QUOTED_FLIGHT, Quote(FLIGHT.flight_id, FlightType.DIRECT, (FLIGHT,))),
    (flights.COMPUTED, Quote("CF_DEL_DXB_A1_B2", FlightType.COMPUTED, (FLIGHT, FLIGHT))),
    (flights.SEATS, FlightSeats(FLIGHT, 3, 5)),
    (
        flights.CHANGED_FLIGHT,
        FlightChange(
            FLIGHT,
            True,
            ("K7QX2M",),
            Decimal(3),
            affected=(
                AffectedBooking(
                    "K7QX2M", "tab\t", 2, BookingStatus.PENDING, BookingStatus.CANCELLED, False, Decimal(3)
                ),
            ),
        ),
    ),
    (operations.SWEPT, SweepResult(1, 2, 3, 4, 5)),
    (operations.SEEDED, SeedResult(9, 8, 7, date(2026, 12, 1), date(2026, 12, 2), ((3, "bad"),))),
    (operations.PRECOMPUTED, PrecomputeResult(1, 2, 3)),
    (operations.VIOLATION, Violation("SEATS", "6E203-20261201", None, "available 3, counted 4")),
    (operations.CHECK, DoctorCheck("database", "ok", "works")),
    (operations.GRANT, Grant(Role.AGENT, "GRANT SELECT ON `db`.`flights` TO 'a'@'%';")),
    (operations.ARCHIVED, ArchiveResult(1, 2, 3, date(2026, 12, 1), 4)),
    (operations.SETTING, {"key": "locking", "value": "redis", "source": "default", "variable": "FLIGHTCTL_LOCKING"}),
    (
        schedules.DIFFERENCE,
        FlightDifference(
            DifferenceKind.CHANGED,
            FLIGHT.flight_id,
            "DEL",
            "DXB",
            FLIGHT.departure_time,
            LATE,
            ImportOutcome.LEAVE,
            2,
            5,
            (FieldChange("totalSeats", "180", "4"),),
            "5 seats are sold or held; it cannot shrink to 4",
        ),
    ),
    (
        schedules.EXPORTED,
        ExportedRow(
            "6E",
            "203",
            "DEL",
            "DXB",
            "06:10",
            "09:05",
            0,
            "135",
            date(2026, 12, 1),
            date(2027, 3, 27),
            180,
            Decimal(5400),
        ),
    ),
    (operations.REVISION, {"revision": None, "head": "0007", "upToDate": False}),
    (
        disruptions.REACCOMMODATED,
        Reaccommodated(
            "K7QX2M", "moved", "6E203-20261201", "CF_DEL_DXB_A1_B2", -5, "flight 6E203-20261201 was cancelled"
        ),
    ),
    (
        bookings.QUOTE,
        RefundQuote(
            "K7QX2M",
            BookingStatus.CONFIRMED,
            1,
            2,
            Decimal(10),
            Decimal("0.5"),
            Decimal(5),
            Decimal(5),
            Decimal("71.5"),
        ),
    ),
    (holds.HOLD, Hold("K7QX2M", "tab\there", "6E203-20261201", ("6E203-20261201",), 2, AT, AT, 272)),
    (holds.EXTENDED, ExtendResult(3, (Skipped("K7QX2M", "it is CONFIRMED"),))),
    (
        payments.SIGNED,
        SignedCallback(CallbackRequest("K7QX2M", CallbackStatus.SUCCESS, "pay-1"), "1795616380", "7f"),
    ),
    (
        payments.REHEARSED,
        Rehearsal(
            "K7QX2M",
            "pay-1",
            360.0,
            (CallbackStatus.SUCCESS,),
            (CallbackResult("pay-1", "K7QX2M", PAYMENT.status, BOOKING.status, True),),
            PAYMENT.status,
            BOOKING.status,
        ),
    ),
    (payments.LATE, LatePayment(PAYMENT, BookingStatus.EXPIRED, "tab\there\n", "A1", RefundStatus.DUE)),
    (
        bookings.MANIFEST,
        ManifestEntry("K7QX2M", "tab\there", 2, BOOKING.status, "6E203-20261201", 1, 2, Decimal(9), None, AT),
    ),
    (sales.SALES, SALES),
    (sales.ROW, sales.rows(SALES)[0]),
    *((fares.calendar_view(CALENDAR), day) for day in CALENDAR.content),
]
