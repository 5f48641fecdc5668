"""Seats of a booking given back: what was asked for at first, and money that rules let the airline keep.

Revision ID: 0006
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0002"

MONEY = sa.Numeric(12, 2).with_variant(sa.Integer(), "sqlite")
RETAINED = "retained >= 0 AND retained <= amount"


def _table_options() -> dict[str, Any]:
    dialect = op.get_bind().dialect
    collation = "utf8mb4_nopad_bin" if getattr(dialect, "is_mariadb", False) else "utf8mb4_0900_bin"
    return {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": collation}


def upgrade() -> None:
    op.create_table(
        "booking_requests",
        sa.Column("booking_id", sa.String(length=6), nullable=False),
        sa.Column("flight_identifier", sa.String(length=160), nullable=False),
        sa.Column("seats", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["booking_id"], ["bookings.booking_id"], name="fk_booking_requests_booking"),
        sa.PrimaryKeyConstraint("booking_id"),
        **_table_options(),
    )
    if op.get_bind().dialect.name == "sqlite":  # adds a CHECK only together with its column
        op.execute(
            "ALTER TABLE payments ADD COLUMN retained INTEGER NOT NULL DEFAULT '0'"
            f" CONSTRAINT ck_payments_retained CHECK ({RETAINED})"
        )
    else:
        op.add_column("payments", sa.Column("retained", MONEY, server_default="0", nullable=False))
        op.create_check_constraint("ck_payments_retained", "payments", RETAINED)
