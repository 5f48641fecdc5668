"""Tables for whole days' timetables as searches read them.

Revision ID: 0010
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0010"
down_revision = "0009"

INSTANT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
LARGE = sa.LargeBinary().with_variant(mysql.MEDIUMBLOB(), "mysql", "mariadb")


def upgrade() -> None:
    collation = "utf8mb4_nopad_bin" if getattr(op.get_bind().dialect, "is_mariadb", False) else "utf8mb4_0900_bin"
    op.create_table(
        "packed_days",
        sa.Column("utc_day", sa.Date(), nullable=False),
        sa.Column("claim", sa.String(length=16), nullable=False),
        sa.Column("claimed_at", INSTANT, nullable=False),
        sa.Column("longest", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("packed_at", INSTANT, nullable=True),
        sa.PrimaryKeyConstraint("utc_day"),
        mysql_engine="InnoDB",
        mysql_charset="utf8mb4",
        mysql_collate=collation,
    )
    op.create_table(
        "packed_airports",
        sa.Column("utc_day", sa.Date(), nullable=False),
        sa.Column("airport", sa.String(length=3), nullable=False),
        sa.Column("departures", LARGE, nullable=False),
        sa.Column("arrivals", LARGE, nullable=False),
        sa.PrimaryKeyConstraint("utc_day", "airport"),
        mysql_engine="InnoDB",
        mysql_charset="utf8mb4",
        mysql_collate=collation,
    )
