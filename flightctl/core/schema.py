"""The tables, as SQLAlchemy Core sees them. Migrations make them; a test holds the two together.

Column conventions: instants are UTC with microseconds; money is DECIMAL(12,2) on MySQL and integer hundredths on
SQLite; ids and codes compare byte by byte (binary collation without padding on MySQL, SQLite's own default).
"""

from typing import Final

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Date,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects import mysql

from flightctl.core.sql_types import Money, UtcDateTime

HEAD_REVISION: Final = "0010"
"""The newest migration: what this version of flightctl reads and writes."""


metadata = MetaData()

_auto_id = BigInteger().with_variant(Integer(), "sqlite")  # SQLite numbers only INTEGER keys by itself

_large = LargeBinary().with_variant(mysql.MEDIUMBLOB(), "mysql", "mariadb")

airports = Table(
    "airports",
    metadata,
    Column("iata", String(3), primary_key=True),
    Column("name", String(120), nullable=False),
    Column("city", String(80), nullable=False),
    Column("country", String(2), nullable=False),
    Column("time_zone", String(40), nullable=False),
    Column("latitude", Float(53), nullable=False),
    Column("longitude", Float(53), nullable=False),
)

flights = Table(
    "flights",
    metadata,
    Column("flight_id", String(40), primary_key=True),
    Column("carrier", String(3)),
    Column("flight_number", String(8)),
    Column("source", String(3), nullable=False),
    Column("destination", String(3), nullable=False),
    Column("departure_time", UtcDateTime, nullable=False),
    Column("arrival_time", UtcDateTime, nullable=False),
    Column("departure_date", Date, nullable=False),
    Column("total_seats", Integer, nullable=False),
    Column("available_seats", Integer, nullable=False),
    Column("seat_version", BigInteger, nullable=False, server_default="0"),
    Column("price", Money, nullable=False),
    Column("status", String(10), nullable=False, server_default="ACTIVE"),
    CheckConstraint("total_seats > 0", name="ck_flights_total_seats"),
    CheckConstraint("available_seats >= 0 AND available_seats <= total_seats", name="ck_flights_available_seats"),
    CheckConstraint("price >= 0", name="ck_flights_price"),
    CheckConstraint("arrival_time > departure_time", name="ck_flights_times"),
    CheckConstraint("status IN ('ACTIVE', 'CANCELLED')", name="ck_flights_status"),
    UniqueConstraint("carrier", "flight_number", "source", "departure_date", name="uq_flights_schedule"),
    Index("ix_flights_route", "source", "departure_date", "destination"),
    Index("ix_flights_between", "source", "destination", "departure_time"),
    Index("ix_flights_inbound", "destination", "departure_time"),
    Index("ix_flights_departure", "departure_time"),
    Index("ix_flights_status", "status", "departure_time"),
)

bookings = Table(
    "bookings",
    metadata,
    Column("booking_id", String(6), primary_key=True),
    Column("user_id", String(64), nullable=False),
    Column("flight_type", String(10), nullable=False),
    Column("flight_identifier", String(160), nullable=False),
    Column("seats", Integer, nullable=False),
    Column("total_price", Money, nullable=False),
    Column("status", String(10), nullable=False),
    Column("idempotency_key", String(128), nullable=False),
    Column("failure_reason", String(255)),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    CheckConstraint("seats > 0", name="ck_bookings_seats"),
    CheckConstraint("total_price >= 0", name="ck_bookings_total_price"),
    CheckConstraint("flight_type IN ('DIRECT', 'COMPUTED')", name="ck_bookings_flight_type"),
    CheckConstraint("status IN ('PENDING', 'CONFIRMED', 'FAILED', 'CANCELLED', 'EXPIRED')", name="ck_bookings_status"),
    UniqueConstraint("idempotency_key", name="uq_bookings_idempotency_key"),
    Index("ix_bookings_created", "created_at", "booking_id"),
    Index("ix_bookings_user", "user_id", "created_at"),
    Index("ix_bookings_status", "status", "created_at"),
)

booking_flights = Table(
    "booking_flights",
    metadata,
    Column("booking_id", ForeignKey("bookings.booking_id", name="fk_booking_flights_booking"), primary_key=True),
    Column("leg_order", Integer, primary_key=True, autoincrement=False),
    Column("flight_id", ForeignKey("flights.flight_id", name="fk_booking_flights_flight"), nullable=False),
    CheckConstraint("leg_order BETWEEN 1 AND 3", name="ck_booking_flights_leg_order"),
    Index("ix_booking_flights_flight", "flight_id"),
)

booking_requests = (
    Table(  # what was asked for at first, of bookings that have changed: what their keys are compared with
        "booking_requests",
        metadata,
        Column("booking_id", ForeignKey("bookings.booking_id", name="fk_booking_requests_booking"), primary_key=True),
        Column("flight_identifier", String(160), nullable=False),
        Column("seats", Integer, nullable=False),
    )
)

disruptions = Table(  # bookings that wait to be moved; of those that are CONFIRMED no more it says nothing
    "disruptions",
    metadata,
    Column("booking_id", ForeignKey("bookings.booking_id", name="fk_disruptions_booking"), primary_key=True),
    Column("flight_id", ForeignKey("flights.flight_id", name="fk_disruptions_flight"), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Index("ix_disruptions_flight", "flight_id"),
)

seat_reservations = Table(
    "seat_reservations",
    metadata,
    Column("id", _auto_id, primary_key=True, autoincrement=True),
    Column("booking_id", ForeignKey("bookings.booking_id", name="fk_seat_reservations_booking"), nullable=False),
    Column("flight_id", ForeignKey("flights.flight_id", name="fk_seat_reservations_flight"), nullable=False),
    Column("seats", Integer, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("deleted_at", UtcDateTime),
    Column("outcome", String(10)),
    CheckConstraint("seats > 0", name="ck_seat_reservations_seats"),
    CheckConstraint("(deleted_at IS NULL) = (outcome IS NULL)", name="ck_seat_reservations_ended"),
    CheckConstraint(
        "outcome IS NULL OR outcome IN ('CONFIRMED', 'RELEASED', 'EXPIRED')", name="ck_seat_reservations_outcome"
    ),
    Index("ix_seat_reservations_lapse", "deleted_at", "expires_at"),
    Index("ix_seat_reservations_booking", "booking_id"),
    Index("ix_seat_reservations_flight", "flight_id", "deleted_at"),
)

payments = Table(
    "payments",
    metadata,
    Column("payment_id", String(64), primary_key=True),
    Column("booking_id", ForeignKey("bookings.booking_id", name="fk_payments_booking"), nullable=False),
    Column("amount", Money, nullable=False),
    Column("status", String(10), nullable=False),
    Column("source", String(8), nullable=False),
    Column("outcome", String(8)),  # the gateway's answer, stored before the booking learns of it
    Column("message", String(255)),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("claimed_until", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("retained", Money, nullable=False, server_default="0"),  # kept by the rules of a release
    CheckConstraint("amount >= 0", name="ck_payments_amount"),
    CheckConstraint("retained >= 0 AND retained <= amount", name="ck_payments_retained"),
    CheckConstraint(
        "status IN ('REQUESTED', 'PROCESSING', 'SUCCESS', 'FAILED', 'CANCELLED', 'REFUND_DUE', 'REFUNDED')",
        name="ck_payments_status",
    ),
    CheckConstraint("source IN ('GATEWAY', 'AGENT')", name="ck_payments_source"),
    CheckConstraint("outcome IS NULL OR outcome IN ('SUCCESS', 'FAILURE')", name="ck_payments_outcome"),
    Index("ix_payments_booking", "booking_id", "created_at"),
    Index("ix_payments_status", "status", "claimed_until", "created_at"),
    Index("ix_payments_created", "created_at", "payment_id"),
)

refunds = Table(
    "refunds",
    metadata,
    Column("refund_id", String(64), primary_key=True),
    Column("payment_id", ForeignKey("payments.payment_id", name="fk_refunds_payment"), nullable=False),
    Column("amount", Money, nullable=False),
    Column("status", String(4), nullable=False),
    Column("claimed_until", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    CheckConstraint("amount >= 0", name="ck_refunds_amount"),
    CheckConstraint("status IN ('DUE', 'PAID')", name="ck_refunds_status"),
    Index("ix_refunds_payment", "payment_id"),
    Index("ix_refunds_status", "status", "created_at"),
)

booking_events = Table(
    "booking_events",
    metadata,
    Column("id", _auto_id, primary_key=True, autoincrement=True),
    Column("booking_id", ForeignKey("bookings.booking_id", name="fk_booking_events_booking"), nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("actor", String(64), nullable=False),
    Column("from_status", String(10)),
    Column("to_status", String(10), nullable=False),
    Column("reason", String(255), nullable=False),
    Column("operation_id", String(32)),  # tells a command whose COMMIT got no answer whether it happened
    Index("ix_booking_events_booking", "booking_id", "at"),
)

mock_gateway_ledger = Table(
    "mock_gateway_ledger",
    metadata,
    Column("request_id", String(64), primary_key=True),
    Column("kind", String(6), nullable=False),
    Column("amount", Money, nullable=False),
    Column("outcome", String(8), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    CheckConstraint("kind IN ('CHARGE', 'REFUND')", name="ck_mock_gateway_ledger_kind"),
    CheckConstraint("outcome IN ('SUCCESS', 'FAILURE', 'TIMEOUT')", name="ck_mock_gateway_ledger_outcome"),
)

archived = Table(
    "archived",
    metadata,
    Column("kind", String(8), primary_key=True),
    Column("id", String(40), primary_key=True),
    Column("departure_date", Date, nullable=False),
    # Of a booking its own, of a flight those of the CONFIRMED bookings that were archived.
    Column("seats", Integer, nullable=False),
    Column("archived_at", UtcDateTime, nullable=False),
    Column("document", Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb"), nullable=False),  # rows by table
    CheckConstraint("kind IN ('booking', 'flight')", name="ck_archived_kind"),
    Index("ix_archived_departure", "kind", "departure_date"),
)

schedule_state = Table(
    "schedule_state",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("version", BigInteger, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
)

# The timetable of whole days for searches: a day's airports count only while the day itself is here. No foreign key: a
# change of the schedule takes the day away and leaves its airports to whoever packs it next.
packed_days = Table(
    "packed_days",
    metadata,
    Column("utc_day", Date, primary_key=True),
    Column("claim", String(16), nullable=False),  # of whoever packed it last, or is packing it
    Column("claimed_at", UtcDateTime, nullable=False),
    Column("longest", BigInteger, nullable=False),  # microseconds that the longest of its flights flies
    Column("digest", String(64), nullable=False),
    Column("packed_at", UtcDateTime),  # of what is packed, when it was claimed; NULL: nothing is
)

packed_airports = Table(
    "packed_airports",
    metadata,
    Column("utc_day", Date, primary_key=True),
    Column("airport", String(3), primary_key=True),
    Column("departures", _large, nullable=False),
    Column("arrivals", _large, nullable=False),
)

worker_heartbeats = Table(
    "worker_heartbeats",
    metadata,
    Column("worker_id", String(64), primary_key=True),
    Column("role", String(10), nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("seen_at", UtcDateTime, nullable=False),
    Index("ix_worker_heartbeats_seen", "role", "seen_at"),
)
