"""The tables of the first release.

Revision ID: 0001
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0001"
down_revision = None

MONEY = sa.Numeric(12, 2).with_variant(sa.Integer(), "sqlite")
INSTANT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
AUTO_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _table_options() -> dict[str, Any]:
    """Binary collations without padding, so that an idempotency key equals itself alone; each server has its own."""
    dialect = op.get_bind().dialect
    collation = "utf8mb4_nopad_bin" if getattr(dialect, "is_mariadb", False) else "utf8mb4_0900_bin"
    return {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": collation}


def upgrade() -> None:
    options = _table_options()
    _flights(options)
    _bookings(options)
    _money(options)
    _workers(options)
    op.execute("INSERT INTO schedule_state (id, version, updated_at) VALUES (1, 0, '2000-01-01 00:00:00.000000')")


def _flights(options: dict[str, Any]) -> None:
    op.create_table(
        "airports",
        sa.Column("iata", sa.String(length=3), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("city", sa.String(length=80), nullable=False),
        sa.Column("country", sa.String(length=2), nullable=False),
        sa.Column("time_zone", sa.String(length=40), nullable=False),
        sa.Column("latitude", sa.Float(precision=53), nullable=False),
        sa.Column("longitude", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("iata"),
        **options,
    )
    op.create_table(
        "flights",
        sa.Column("flight_id", sa.String(length=40), nullable=False),
        sa.Column("carrier", sa.String(length=3), nullable=True),
        sa.Column("flight_number", sa.String(length=8), nullable=True),
        sa.Column("source", sa.String(length=3), nullable=False),
        sa.Column("destination", sa.String(length=3), nullable=False),
        sa.Column("departure_time", INSTANT, nullable=False),
        sa.Column("arrival_time", INSTANT, nullable=False),
        sa.Column("departure_date", sa.Date(), nullable=False),
        sa.Column("total_seats", sa.Integer(), nullable=False),
        sa.Column("available_seats", sa.Integer(), nullable=False),
        sa.Column("seat_version", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("price", MONEY, nullable=False),
        sa.Column("status", sa.String(length=10), server_default="ACTIVE", nullable=False),
        sa.CheckConstraint("status IN ('ACTIVE', 'CANCELLED')", name="ck_flights_status"),
        sa.CheckConstraint("arrival_time > departure_time", name="ck_flights_times"),
        sa.CheckConstraint(
            "available_seats >= 0 AND available_seats <= total_seats", name="ck_flights_available_seats"
        ),
        sa.CheckConstraint("price >= 0", name="ck_flights_price"),
        sa.CheckConstraint("total_seats > 0", name="ck_flights_total_seats"),
        sa.PrimaryKeyConstraint("flight_id"),
        sa.UniqueConstraint("carrier", "flight_number", "source", "departure_date", name="uq_flights_schedule"),
        **options,
    )
    op.create_index("ix_flights_departure", "flights", ["departure_time"], unique=False)
    op.create_index("ix_flights_inbound", "flights", ["destination", "departure_time"], unique=False)
    op.create_index("ix_flights_onward", "flights", ["source", "departure_time"], unique=False)
    op.create_index("ix_flights_route", "flights", ["source", "departure_date", "destination"], unique=False)
    op.create_table(
        "schedule_state",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        **options,
    )


def _bookings(options: dict[str, Any]) -> None:
    op.create_table(
        "bookings",
        sa.Column("booking_id", sa.String(length=6), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("flight_type", sa.String(length=10), nullable=False),
        sa.Column("flight_identifier", sa.String(length=160), nullable=False),
        sa.Column("seats", sa.Integer(), nullable=False),
        sa.Column("total_price", MONEY, nullable=False),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("idempotency_key", sa.String(length=128), nullable=False),
        sa.Column("failure_reason", sa.String(length=255), nullable=True),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.CheckConstraint("flight_type IN ('DIRECT', 'COMPUTED')", name="ck_bookings_flight_type"),
        sa.CheckConstraint(
            "status IN ('PENDING', 'CONFIRMED', 'FAILED', 'CANCELLED', 'EXPIRED')", name="ck_bookings_status"
        ),
        sa.CheckConstraint("seats > 0", name="ck_bookings_seats"),
        sa.CheckConstraint("total_price >= 0", name="ck_bookings_total_price"),
        sa.PrimaryKeyConstraint("booking_id"),
        sa.UniqueConstraint("idempotency_key", name="uq_bookings_idempotency_key"),
        **options,
    )
    op.create_index("ix_bookings_created", "bookings", ["created_at", "booking_id"], unique=False)
    op.create_index("ix_bookings_status", "bookings", ["status", "created_at"], unique=False)
    op.create_index("ix_bookings_user", "bookings", ["user_id", "created_at"], unique=False)
    op.create_table(
        "booking_flights",
        sa.Column("booking_id", sa.String(length=6), nullable=False),
        sa.Column("leg_order", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("flight_id", sa.String(length=40), nullable=False),
        sa.CheckConstraint("leg_order BETWEEN 1 AND 3", name="ck_booking_flights_leg_order"),
        sa.ForeignKeyConstraint(["booking_id"], ["bookings.booking_id"], name="fk_booking_flights_booking"),
        sa.ForeignKeyConstraint(["flight_id"], ["flights.flight_id"], name="fk_booking_flights_flight"),
        sa.PrimaryKeyConstraint("booking_id", "leg_order"),
        **options,
    )
    op.create_index("ix_booking_flights_flight", "booking_flights", ["flight_id"], unique=False)
    op.create_table(
        "seat_reservations",
        sa.Column("id", AUTO_ID, autoincrement=True, nullable=False),
        sa.Column("booking_id", sa.String(length=6), nullable=False),
        sa.Column("flight_id", sa.String(length=40), nullable=False),
        sa.Column("seats", sa.Integer(), nullable=False),
        sa.Column("expires_at", INSTANT, nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("deleted_at", INSTANT, nullable=True),
        sa.Column("outcome", sa.String(length=10), nullable=True),
        sa.CheckConstraint(
            "outcome IS NULL OR outcome IN ('CONFIRMED', 'RELEASED', 'EXPIRED')", name="ck_seat_reservations_outcome"
        ),
        sa.CheckConstraint("(deleted_at IS NULL) = (outcome IS NULL)", name="ck_seat_reservations_ended"),
        sa.CheckConstraint("seats > 0", name="ck_seat_reservations_seats"),
        sa.ForeignKeyConstraint(["booking_id"], ["bookings.booking_id"], name="fk_seat_reservations_booking"),
        sa.ForeignKeyConstraint(["flight_id"], ["flights.flight_id"], name="fk_seat_reservations_flight"),
        sa.PrimaryKeyConstraint("id"),
        **options,
    )
    op.create_index("ix_seat_reservations_booking", "seat_reservations", ["booking_id"], unique=False)
    op.create_index("ix_seat_reservations_flight", "seat_reservations", ["flight_id", "deleted_at"], unique=False)
    op.create_index("ix_seat_reservations_lapse", "seat_reservations", ["deleted_at", "expires_at"], unique=False)
    op.create_table(
        "booking_events",
        sa.Column("id", AUTO_ID, autoincrement=True, nullable=False),
        sa.Column("booking_id", sa.String(length=6), nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.Column("actor", sa.String(length=64), nullable=False),
        sa.Column("from_status", sa.String(length=10), nullable=True),
        sa.Column("to_status", sa.String(length=10), nullable=False),
        sa.Column("reason", sa.String(length=255), nullable=False),
        sa.Column("operation_id", sa.String(length=32), nullable=True),
        sa.ForeignKeyConstraint(["booking_id"], ["bookings.booking_id"], name="fk_booking_events_booking"),
        sa.PrimaryKeyConstraint("id"),
        **options,
    )
    op.create_index("ix_booking_events_booking", "booking_events", ["booking_id", "at"], unique=False)


def _money(options: dict[str, Any]) -> None:
    op.create_table(
        "payments",
        sa.Column("payment_id", sa.String(length=64), nullable=False),
        sa.Column("booking_id", sa.String(length=6), nullable=False),
        sa.Column("amount", MONEY, nullable=False),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("source", sa.String(length=8), nullable=False),
        sa.Column("outcome", sa.String(length=8), nullable=True),
        sa.Column("message", sa.String(length=255), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("claimed_until", INSTANT, nullable=True),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.CheckConstraint("outcome IS NULL OR outcome IN ('SUCCESS', 'FAILURE')", name="ck_payments_outcome"),
        sa.CheckConstraint("source IN ('GATEWAY', 'AGENT')", name="ck_payments_source"),
        sa.CheckConstraint(
            "status IN ('REQUESTED', 'PROCESSING', 'SUCCESS', 'FAILED', 'CANCELLED', 'REFUND_DUE', 'REFUNDED')",
            name="ck_payments_status",
        ),
        sa.CheckConstraint("amount >= 0", name="ck_payments_amount"),
        sa.ForeignKeyConstraint(["booking_id"], ["bookings.booking_id"], name="fk_payments_booking"),
        sa.PrimaryKeyConstraint("payment_id"),
        **options,
    )
    op.create_index("ix_payments_booking", "payments", ["booking_id", "created_at"], unique=False)
    op.create_index("ix_payments_created", "payments", ["created_at", "payment_id"], unique=False)
    op.create_index("ix_payments_status", "payments", ["status", "claimed_until", "created_at"], unique=False)
    op.create_table(
        "refunds",
        sa.Column("refund_id", sa.String(length=64), nullable=False),
        sa.Column("payment_id", sa.String(length=64), nullable=False),
        sa.Column("amount", MONEY, nullable=False),
        sa.Column("status", sa.String(length=4), nullable=False),
        sa.Column("claimed_until", INSTANT, nullable=True),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.CheckConstraint("status IN ('DUE', 'PAID')", name="ck_refunds_status"),
        sa.CheckConstraint("amount >= 0", name="ck_refunds_amount"),
        sa.ForeignKeyConstraint(["payment_id"], ["payments.payment_id"], name="fk_refunds_payment"),
        sa.PrimaryKeyConstraint("refund_id"),
        **options,
    )
    op.create_index("ix_refunds_payment", "refunds", ["payment_id"], unique=False)
    op.create_index("ix_refunds_status", "refunds", ["status", "created_at"], unique=False)
    op.create_table(
        "mock_gateway_ledger",
        sa.Column("request_id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=6), nullable=False),
        sa.Column("amount", MONEY, nullable=False),
        sa.Column("outcome", sa.String(length=8), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.CheckConstraint("kind IN ('CHARGE', 'REFUND')", name="ck_mock_gateway_ledger_kind"),
        sa.CheckConstraint("outcome IN ('SUCCESS', 'FAILURE', 'TIMEOUT')", name="ck_mock_gateway_ledger_outcome"),
        sa.PrimaryKeyConstraint("request_id"),
        **options,
    )


def _workers(options: dict[str, Any]) -> None:
    op.create_table(
        "worker_heartbeats",
        sa.Column("worker_id", sa.String(length=64), nullable=False),
        sa.Column("role", sa.String(length=10), nullable=False),
        sa.Column("started_at", INSTANT, nullable=False),
        sa.Column("seen_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("worker_id"),
        **options,
    )
    op.create_index("ix_worker_heartbeats_seen", "worker_heartbeats", ["role", "seen_at"], unique=False)
