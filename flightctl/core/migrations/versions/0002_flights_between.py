"""An index of the flights between two airports, in place of that of the flights leaving one.

A search reads what lies between its ends: flights from any of two hundred airports to any of two hundred others. By
this index that takes about half the time in the world's network (measured on a busy machine), and a self-join in SQL
a quarter to three quarters.

Revision ID: 0002
Revises: 0001
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_flights_between", "flights", ["source", "destination", "departure_time"], unique=False)
    op.drop_index("ix_flights_onward", table_name="flights")
