"""A table for what flew long ago.

Revision ID: 0008
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0008"
down_revision = "0007"

INSTANT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")


def upgrade() -> None:
    collation = "utf8mb4_nopad_bin" if getattr(op.get_bind().dialect, "is_mariadb", False) else "utf8mb4_0900_bin"
    op.create_table(
        "archived",
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("departure_date", sa.Date(), nullable=False),
        sa.Column("seats", sa.Integer(), nullable=False),
        sa.Column("archived_at", INSTANT, nullable=False),
        sa.Column("document", sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb"), nullable=False),
        sa.CheckConstraint("kind IN ('booking', 'flight')", name="ck_archived_kind"),
        sa.PrimaryKeyConstraint("kind", "id"),
        mysql_engine="InnoDB",
        mysql_charset="utf8mb4",
        mysql_collate=collation,
    )
    op.create_index("ix_archived_departure", "archived", ["kind", "departure_date"], unique=False)
