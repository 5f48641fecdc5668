"""Heartbeats of daemons: how ``book --wait`` and ``doctor`` know that a processor is alive."""

from typing import Final

from sqlalchemy import bindparam, delete, insert, select, update

from flightctl.core.database import Transaction
from flightctl.core.schema import worker_heartbeats
from flightctl.core.sql_functions import utc_now

ALIVE_SECONDS: Final = 15
"""A daemon beats every 3 s; one that missed five beats is taken for dead."""

_BEAT: Final = (
    update(worker_heartbeats).where(worker_heartbeats.c.worker_id == bindparam("worker")).values(seen_at=utc_now())
)
_LONG_DEAD: Final = delete(worker_heartbeats).where(worker_heartbeats.c.seen_at < utc_now(-3600))


def processor_alive(tx: Transaction) -> bool:
    """Whether some daemon that runs payments was seen within ALIVE_SECONDS, by the database's clock."""
    alive = select(worker_heartbeats.c.worker_id).where(
        worker_heartbeats.c.role == "payments", worker_heartbeats.c.seen_at > utc_now(-ALIVE_SECONDS)
    )
    return tx.execute(alive.limit(1)).first() is not None


def beat(tx: Transaction, worker_id: str, role: str) -> None:
    """Say that the worker is alive, and forget workers that have been dead for an hour."""
    if tx.change(_BEAT, {"worker": worker_id}) == 0:
        tx.change(_LONG_DEAD)
        tx.execute(
            insert(worker_heartbeats).values(worker_id=worker_id, role=role, started_at=utc_now(), seen_at=utc_now())
        )


def leave(tx: Transaction, worker_id: str) -> None:
    tx.change(delete(worker_heartbeats).where(worker_heartbeats.c.worker_id == worker_id))
