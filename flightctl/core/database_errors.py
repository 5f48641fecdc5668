"""What a driver's error means: try the transaction again, look for the server again, or tell the user."""

import re
import sqlite3
from enum import Enum, auto
from typing import Final

from sqlalchemy.exc import DBAPIError

from flightctl.core.errors import (
    ConfigError,
    DatabaseUnavailableError,
    FlightctlError,
    InvariantViolationError,
    LockAcquisitionFailedError,
    SchemaMismatchError,
)


class Trouble(Enum):
    CONFLICT = auto()
    """Deadlock or certification failure: the transaction was rolled back and may run again at once."""
    LOCK_TIMEOUT = auto()
    DISCONNECTED = auto()
    """The connection was lost; what was not committed is rolled back by the server."""
    UNREACHABLE = auto()
    """No connection could be made."""
    SCHEMA = auto()
    OTHER = auto()


# MySQL and MariaDB error numbers ("Server Error Message Reference", "Client Error Message Reference").
_CONFLICTS: Final = frozenset({1213, 1020, 3101})
_LOCK_TIMEOUTS: Final = frozenset({1205, 3572})
OFFLINE: Final = frozenset({3032, 6400})
"""MySQL in offline mode, into which Group Replication puts a member that had to leave; the second from 9.x on."""
_UNREACHABLE: Final = frozenset({2002, 2003, 2005, 1040, 1129, 1203, 1226}) | OFFLINE
_DISCONNECTED: Final = frozenset({2006, 2013, 2055, 1053, 1927, 1152, 1158, 1159, 1160, 1161, 4031, 0})
_DENIED: Final = frozenset({1142, 1143})
_SCHEMA: Final = frozenset({1146, 1054})
_UNFIT: Final = frozenset({1047, 1180, 3100, 3796, 3797, 3798, 3799})
"""Galera: a server that has lost its cluster, and a COMMIT that the cluster may or may not have heard of. Group
Replication: the same COMMIT (3100: its member gave up, and the others may have made it), and a member that leaves while
a read waits for the group."""
_READ_ONLY: Final = frozenset({1290, 1836})
"""Where there are several servers another one may be the writer."""

SEVERAL: Final = "flightctl_several"
"""Execution option of an engine whose database is on several servers."""

_OFFLINE_HINT: Final = "Its group has put it out: let it join again, then SET GLOBAL offline_mode = OFF."
_REASONS: Final = {
    1040: ("the database has too many connections", "Try again; or raise its max_connections."),
    1044: ("the database refuses this account", "Check the user's rights on the database."),
    1045: ("the database refuses this account", "Check the user and password in FLIGHTCTL_DATABASE_URL."),
    1698: ("the database refuses this account", "Check the user and password in FLIGHTCTL_DATABASE_URL."),
    1049: ("the database named in database.url does not exist", "`flightctl db upgrade` creates it."),
    2026: ("the database's server offers no TLS", "Only database.tls: none would connect to it."),
    3159: ("the database takes connections with TLS only", "Name its authority in FLIGHTCTL_DATABASE_TLS_CA."),
    1290: ("the database is read-only", "Point FLIGHTCTL_DATABASE_URL to the primary."),
    1792: ("the database is read-only", "Point FLIGHTCTL_DATABASE_URL to the primary."),
    1836: ("the database is read-only", "Point FLIGHTCTL_DATABASE_URL to the primary."),
    1047: ("the database's server has lost its cluster", "Its cluster has no quorum, or this server is joining it."),
    3032: ("the database's server is in offline mode", _OFFLINE_HINT),
    6400: ("the database's server is in offline mode", _OFFLINE_HINT),
    3100: ("the database refuses writes", "Its cluster has no quorum, or this member is read-only."),
    1021: ("the database's disk is full", "Free space on its server. Nothing was changed."),
    1114: ("the database's disk is full", "Free space on its server. Nothing was changed."),
    3: ("the database's disk is full", "Free space on its server. Nothing was changed."),
    28: ("the database's disk is full", "Free space on its server. Nothing was changed."),
}


def diagnose(error: DBAPIError) -> Trouble:
    """Classify a driver's error."""
    original = error.orig
    if isinstance(original, sqlite3.Error):
        return _diagnose_sqlite(original)
    code = _code(error)
    if code in _CONFLICTS or _lost_certification(original):
        return Trouble.CONFLICT
    if code in _LOCK_TIMEOUTS:
        return Trouble.LOCK_TIMEOUT
    if code in _UNREACHABLE:
        return Trouble.UNREACHABLE
    if code in _DISCONNECTED or error.connection_invalidated:
        return Trouble.DISCONNECTED
    return Trouble.SCHEMA if code in _SCHEMA else Trouble.OTHER


def server_unfit(error: BaseException | None, *, several: bool) -> bool:
    """Whether the connection is of no more use although it is not lost: its server cannot go on, another may."""
    code = error.args[0] if error is not None and error.args else None
    if code in _UNFIT:
        return not _lost_certification(error)
    return several and code in _READ_ONLY


def _denied(error: BaseException | None) -> str:
    """``INSERT command denied to user … for table `db`.`flights``` as ``INSERT into the table flights``; MySQL says
    ``SELECT with locking clause command denied`` where UPDATE is what is missing."""
    said = str(error).replace("SELECT with locking clause command", "UPDATE command")
    found = re.search(r"(?s)([A-Z ,]+?) command denied .* table [`']?(?:\w+[`']?\.[`']?)?(\w+)", said)
    return f"{found[1]} in the table {found[2]}" if found else "do that"


def _account(error: BaseException | None) -> str:
    """Whom the server took the client for, where it refused: often not the account that was meant (``''@'localhost'``
    before ``'agent'@'%'``)."""
    found = re.search(r"Access denied for user ('[^']*'@'[^']*')(?: to database ('[^']*'))?", str(error))
    if not found:
        return ""
    return f" {found[1]}" + (f" for the database {found[2]}" if found[2] else "")


def distrust(error: BaseException | None) -> str | None:
    """Why TLS could not be agreed on, where that was it."""
    cause = getattr(error, "original_exception", None)
    if type(cause).__module__ != "ssl":  # not imported here: most commands use none
        return None
    return str(getattr(cause, "verify_message", "") or getattr(cause, "reason", "") or "the server hung up").lower()


def _lost_certification(error: BaseException | None) -> bool:
    """Group Replication's 1180 at COMMIT: the group preferred another transaction (149: HA_ERR_LOCK_DEADLOCK)."""
    text = str(error).lower()
    return text.startswith("(1180,") and any(word in text for word in ("certification", "error 149", "deadlock"))


def _diagnose_sqlite(error: sqlite3.Error) -> Trouble:
    message = str(error).lower()
    if "locked" in message or "busy" in message:
        return Trouble.LOCK_TIMEOUT
    return Trouble.SCHEMA if "no such table" in message or "no such column" in message else Trouble.OTHER


def _code(error: DBAPIError) -> int | None:
    arguments = getattr(error.orig, "args", ())
    return arguments[0] if arguments and isinstance(arguments[0], int) else None


def duplicate_key(error: DBAPIError) -> str | None:
    """The violated unique key, as the server names it (``uq_…``, ``PRIMARY``, or SQLite's ``table.column``)."""
    if isinstance(error.orig, sqlite3.IntegrityError):
        _, found, columns = str(error.orig).partition("UNIQUE constraint failed: ")
        return columns if found else None
    if _code(error) != 1062:
        return None
    return str(error.orig.args[1]).rpartition(" for key ")[2].strip("'").rpartition(".")[2]  # type: ignore[union-attr]


def violated_check(error: DBAPIError) -> str | None:
    """The name of the CHECK constraint that refused the statement."""
    if isinstance(error.orig, sqlite3.IntegrityError):
        return str(error.orig).partition("CHECK constraint failed: ")[2] or None
    # MariaDB: CONSTRAINT `name` failed for `db`.`table`; MySQL: Check constraint 'name' is violated.
    match = re.search(r"(?i)constraint [`'](\w+)[`']", str(error.orig)) if _code(error) in {3819, 4025} else None
    return match[1] if match else None


def translate(error: DBAPIError) -> FlightctlError:
    """The user's view of an error that retrying did not cure. Never contains SQL, parameters or passwords."""
    trouble = diagnose(error)
    original = error.orig
    if trouble is Trouble.SCHEMA:
        return SchemaMismatchError("the database lacks a table or column that this flightctl needs")
    if trouble in {Trouble.CONFLICT, Trouble.LOCK_TIMEOUT}:
        return LockAcquisitionFailedError("the database stayed locked by others")
    if isinstance(original, sqlite3.Error):
        return _translate_sqlite(original)
    code = _code(error)
    if untrusted := distrust(original):
        return DatabaseUnavailableError(
            f"TLS to the database failed: {untrusted}",
            hint="Check database.tls_ca, and that the certificate is for the host in database.url.",
            details={"databaseError": code},
        )
    if code in _DENIED:
        return DatabaseUnavailableError(
            f"this account may not {_denied(original)}",
            hint="Use another account, or ask for the right: `flightctl db grants` lists what each role needs.",
            details={"databaseError": code},
        )
    if code in _REASONS:
        message, hint = _REASONS[code]
        message += _account(original)
        return DatabaseUnavailableError(message, hint=hint, details={"databaseError": code})
    if original is not None and (reasons := getattr(original, "reasons", None)):  # of several servers
        return DatabaseUnavailableError(str(original.args[1]), details={"databaseError": code, "servers": reasons})
    if trouble in {Trouble.UNREACHABLE, Trouble.DISCONNECTED}:
        return DatabaseUnavailableError("the database does not answer", details={"databaseError": code})
    if code in {3819, 4025, 1452, 1451, 1062, 1264}:
        return InvariantViolationError(
            "the database refused a change that would have broken its rules", details={"databaseError": code}
        )
    return DatabaseUnavailableError(f"the database refused the request (error {code})", details={"databaseError": code})


def refusal(error: BaseException) -> FlightctlError | None:
    """Of an error outside our transactions, such as a bench's own statements: the user's view, where the account or the
    server is the reason and not the program."""
    known = isinstance(error, DBAPIError) and (
        _code(error) in _REASONS or _code(error) in _DENIED or diagnose(error) is Trouble.UNREACHABLE
    )
    return translate(error) if known else None  # type: ignore[arg-type]


def _translate_sqlite(error: sqlite3.Error) -> FlightctlError:
    message = str(error)
    if isinstance(error, sqlite3.IntegrityError):
        return InvariantViolationError("the database refused a change that would have broken its rules")
    if "not a database" in message or "malformed" in message:
        return ConfigError(
            "the file named by database.url is not a flightctl database", hint="Check FLIGHTCTL_DATABASE_URL."
        )
    return DatabaseUnavailableError(
        f"the database file cannot be used: {message}", hint="Check the file's folder, its rights and the free space."
    )
