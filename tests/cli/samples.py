"""One record of every kind, with values that are hard to print."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from flightctl.core import model as m
from flightctl.core.grants import Grant, Role
from flightctl.core.sales import Sales, SalesPoint, Span
from flightctl.views import bookings, disruptions, fares, flights, holds, operations, payments, sales, schedules
from flightctl.views.base import View

AT = datetime(2026, 12, 1, 0, 40, 12, tzinfo=UTC)
LATE = datetime(2026, 12, 1, 20, 5, tzinfo=UTC)

FLIGHT = m.Flight(
    "6E203-20261201", "DEL", "DXB", AT.replace(second=0), LATE, date(2026, 12, 1), 180, 12, 7, Decimal("5400"),
    m.FlightStatus.ACTIVE, "6E", "203",
)  # fmt: skip
LEG = m.ItineraryLeg("6E203-20261201", "DEL", "DXB", FLIGHT.departure_time, LATE, Decimal("5400.5"), 12)
ITINERARY = m.Itinerary("CF_DEL_DXB_A1-20261201_B2-20261201", m.FlightType.COMPUTED, (LEG, LEG))
BOOKING = m.Booking(
    "K7QX2M", "tab\there\nüser", m.FlightType.COMPUTED, "CF_DEL_DXB_A1-20261201_B2-20261201", 2, Decimal("10800"),
    m.BookingStatus.PENDING, ("A1-20261201", "B2-20261201"), AT, AT.replace(microsecond=120), AT, "pay-1", 'key "1"',
)  # fmt: skip
PAYMENT = m.Payment("pay-1", "K7QX2M", Decimal("10800"), m.PaymentStatus.SUCCESS, m.PaymentSource.GATEWAY, None, AT, AT)
EVENT = m.BookingEvent("K7QX2M", AT, "asha", None, m.BookingStatus.PENDING, "booked")
SALES = Sales(FLIGHT, Span.DAY, (SalesPoint(AT.replace(hour=0, minute=0, second=0), 5, 3, 1, 1, 3),))

CALENDAR = m.FareCalendar(
    "DEL", "DXB", 2, date(2026, 12, 1),
    (m.FareDay(date(2026, 12, 1), ITINERARY, 7), m.FareDay(date(2026, 12, 2), None, 0)),
)  # fmt: skip

RECORDS: list[tuple[View, Any]] = [
    (bookings.BOOKING, BOOKING),
    (bookings.BOOKED, m.BookResult(BOOKING, False)),
    (bookings.CHANGED_BOOKING, m.ChangeResult(BOOKING, True)),
    (bookings.EVENT, EVENT),
    (payments.PAYMENT, PAYMENT),
    (payments.REFUNDED, m.RefundResult(PAYMENT, True)),
    (payments.CALLBACK, m.CallbackResult("pay-1", "K7QX2M", PAYMENT.status, BOOKING.status, True)),
    (payments.PROCESSED, m.ProcessResult(1, 1, errors=("pay-1: no",))),
    (flights.ITINERARY, ITINERARY),
    (flights.FLIGHT, FLIGHT),
    (flights.QUOTED_FLIGHT, m.Quote(FLIGHT.flight_id, m.FlightType.DIRECT, (FLIGHT,))),
    (flights.COMPUTED, m.Quote("CF_DEL_DXB_A1_B2", m.FlightType.COMPUTED, (FLIGHT, FLIGHT))),
    (flights.SEATS, m.FlightSeats(FLIGHT, 3, 5)),
    (
        flights.CHANGED_FLIGHT,
        m.FlightChange(
            FLIGHT,
            True,
            ("K7QX2M",),
            Decimal(3),
            affected=(
                m.AffectedBooking(
                    "K7QX2M", "tab\t", 2, m.BookingStatus.PENDING, m.BookingStatus.CANCELLED, False, Decimal(3)
                ),
            ),
        ),
    ),
    (operations.SWEPT, m.SweepResult(1, 2, 3, 4, 5)),
    (operations.SEEDED, m.SeedResult(9, 8, 7, date(2026, 12, 1), date(2026, 12, 2), ((3, "bad"),))),
    (operations.PRECOMPUTED, m.PrecomputeResult(1, 2, 3)),
    (operations.VIOLATION, m.Violation("SEATS", "6E203-20261201", None, "available 3, counted 4")),
    (operations.CHECK, m.DoctorCheck("database", "ok", "works")),
    (operations.GRANT, Grant(Role.AGENT, "GRANT SELECT ON `db`.`flights` TO 'a'@'%';")),
    (operations.ARCHIVED, m.ArchiveResult(1, 2, 3, date(2026, 12, 1), 4)),
    (operations.SETTING, {"key": "locking", "value": "redis", "source": "default", "variable": "FLIGHTCTL_LOCKING"}),
    (
        schedules.DIFFERENCE,
        m.FlightDifference(
            m.DifferenceKind.CHANGED,
            FLIGHT.flight_id,
            "DEL",
            "DXB",
            FLIGHT.departure_time,
            LATE,
            m.ImportOutcome.LEAVE,
            2,
            5,
            (m.FieldChange("totalSeats", "180", "4"),),
            "5 seats are sold or held; it cannot shrink to 4",
        ),
    ),
    (
        schedules.EXPORTED,
        m.ExportedRow(
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
        m.Reaccommodated(
            "K7QX2M", "moved", "6E203-20261201", "CF_DEL_DXB_A1_B2", -5, "flight 6E203-20261201 was cancelled"
        ),
    ),
    (
        bookings.QUOTE,
        m.RefundQuote(
            "K7QX2M",
            m.BookingStatus.CONFIRMED,
            1,
            2,
            Decimal(10),
            Decimal("0.5"),
            Decimal(5),
            Decimal(5),
            Decimal("71.5"),
        ),
    ),
    (holds.HOLD, m.Hold("K7QX2M", "tab\there", "6E203-20261201", ("6E203-20261201",), 2, AT, AT, 272)),
    (holds.EXTENDED, m.ExtendResult(3, (m.Skipped("K7QX2M", "it is CONFIRMED"),))),
    (
        payments.SIGNED,
        m.SignedCallback(m.CallbackRequest("K7QX2M", m.CallbackStatus.SUCCESS, "pay-1"), "1795616380", "7f"),
    ),
    (
        payments.REHEARSED,
        m.Rehearsal(
            "K7QX2M",
            "pay-1",
            360.0,
            (m.CallbackStatus.SUCCESS,),
            (m.CallbackResult("pay-1", "K7QX2M", PAYMENT.status, BOOKING.status, True),),
            PAYMENT.status,
            BOOKING.status,
        ),
    ),
    (payments.LATE, m.LatePayment(PAYMENT, m.BookingStatus.EXPIRED, "tab\there\n", "A1", m.RefundStatus.DUE)),
    (
        bookings.MANIFEST,
        m.ManifestEntry("K7QX2M", "tab\there", 2, BOOKING.status, "6E203-20261201", 1, 2, Decimal(9), None, AT),
    ),
    (sales.SALES, SALES),
    (sales.ROW, sales.rows(SALES)[0]),
    *((fares.calendar_view(CALENDAR), day) for day in CALENDAR.content),
]
