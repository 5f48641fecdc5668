"""Bookings that stay CONFIRMED although the schedule changed under them, until they are moved.

Revision ID: 0007
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0007"
down_revision = "0006"

INSTANT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")


def _table_options() -> dict[str, Any]:
    dialect = op.get_bind().dialect
    collation = "utf8mb4_nopad_bin" if getattr(dialect, "is_mariadb", False) else "utf8mb4_0900_bin"
    return {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": collation}


def upgrade() -> None:
    op.create_table(
        "disruptions",
        sa.Column("booking_id", sa.String(length=6), nullable=False),
        sa.Column("flight_id", sa.String(length=40), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.ForeignKeyConstraint(["booking_id"], ["bookings.booking_id"], name="fk_disruptions_booking"),
        sa.ForeignKeyConstraint(["flight_id"], ["flights.flight_id"], name="fk_disruptions_flight"),
        sa.PrimaryKeyConstraint("booking_id"),
        **_table_options(),
    )
    op.create_index("ix_disruptions_flight", "disruptions", ["flight_id"], unique=False)
