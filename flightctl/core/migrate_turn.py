"""Upgrades on MySQL Group Replication: one at a time in the whole group.

GET_LOCK is local to a member. Where two members make the same table at once none of them is refused: both have it,
neither can apply the other's, and every member leaves the group (MySQL 9.7, measured). So whose turn it is stands in a
row, which the group certifies like any other. It ends by itself, since its holder may be killed.
"""

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy import Connection, TextClause, text
from sqlalchemy.exc import DBAPIError

from flightctl.core.database_errors import Trouble, diagnose
from flightctl.core.database_nodes import wait_for_cluster
from flightctl.core.errors import LockAcquisitionFailedError

TURN_SECONDS: Final = 600
"""Longer than all revisions take on the largest tables that were tried."""
_LOOK_AGAIN_SECONDS: Final = 0.3
_COLLISION_SECONDS: Final = 0.02
_CONCURRENT_CHANGE: Final = 1684

# The one statement that members may run at once: IF NOT EXISTS lets it pass where the table is there already.
_TABLE: Final = text(
    "CREATE TABLE IF NOT EXISTS upgrade_turn "
    "(id INT NOT NULL PRIMARY KEY, holder VARCHAR(32) NOT NULL, until_at DATETIME(6) NOT NULL)"
)
_ROW: Final = text("INSERT IGNORE INTO upgrade_turn (id, holder, until_at) VALUES (1, '', UTC_TIMESTAMP(6))")
_TAKE: Final = text(
    "UPDATE upgrade_turn SET holder = :me, until_at = UTC_TIMESTAMP(6) + INTERVAL :seconds SECOND "
    "WHERE id = 1 AND (holder = '' OR until_at < UTC_TIMESTAMP(6))"
)
_GIVE_BACK: Final = text("UPDATE upgrade_turn SET holder = '' WHERE id = 1 AND holder = :me")


@contextmanager
def turn(connection: Connection, patience: float) -> Iterator[None]:
    """Nobody else in the group upgrades meanwhile, and what others have done before is there.

    Raises LockAcquisitionFailedError after ``patience`` seconds.
    """
    wait_for_cluster(connection.connection.driver_connection)
    me = secrets.token_hex(16)
    until = time.monotonic() + patience
    _certified(connection, _TABLE, until)
    _certified(connection, _ROW, until)
    while not _certified(connection, _TAKE, until, me=me, seconds=TURN_SECONDS):
        if time.monotonic() > until:
            raise LockAcquisitionFailedError(
                "another `flightctl db upgrade` is running",
                hint=f"If it was killed, its turn ends within {TURN_SECONDS // 60} minutes.",
            )
        time.sleep(_LOOK_AGAIN_SECONDS)
    try:
        yield
    finally:
        if not connection.invalidated:
            _certified(connection, _GIVE_BACK, time.monotonic() + patience, me=me)


def _certified(connection: Connection, statement: TextClause, until: float, **parameters: object) -> int:
    """Rows that it matched, however often another member came first, ``until`` then (monotonic)."""
    while True:
        try:
            return connection.execute(statement, parameters).rowcount
        except DBAPIError as error:
            if time.monotonic() > until or (diagnose(error) is not Trouble.CONFLICT and not _being_made(error)):
                raise
        time.sleep(_COLLISION_SECONDS)


def _being_made(error: DBAPIError) -> bool:
    """Whether the table comes from another member at this moment."""
    return error.orig is not None and error.orig.args[:1] == (_CONCURRENT_CHANGE,)
