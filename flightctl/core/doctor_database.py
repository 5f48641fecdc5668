"""The database as ``doctor`` sees it: reachable, writable, of the right schema, durable, of one clock, with room."""

import shutil
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, Final, TypeVar

from sqlalchemy import select, text, update
from sqlalchemy.exc import DBAPIError

from flightctl.core.database import Operation, Transaction
from flightctl.core.database_engine import DEFAULT_PORT
from flightctl.core.database_errors import translate
from flightctl.core.database_url import Address
from flightctl.core.errors import FlightctlError
from flightctl.core.model.operations import DoctorCheck
from flightctl.core.runtime import Runtime
from flightctl.core.schema import HEAD_REVISION, worker_heartbeats
from flightctl.core.sql_functions import utc_now

T = TypeVar("T")

OK, WARNING, FAILED = "ok", "warning", "failed"
CLOCK_SECONDS: Final = 2.0
"""Clocks that are further apart make logs and countdowns wrong; what expires when is the database's alone."""
LOW_DISK: Final = 1_000_000_000
FULL_DISK: Final = 20_000_000
"""Bytes: below the first it will not last the night, below the second not the hour."""
BUSY_SHARE: Final = 0.8
_PROBE_SECONDS: Final = 2.0
_LOOKS: Final = 5

_SERVER: Final = text(
    "SELECT VERSION() AS version, @@hostname AS host, @@max_connections AS most, @@log_bin AS log_bin,"
    " @@sync_binlog AS sync_binlog, @@innodb_flush_log_at_trx_commit AS flush_log"
)
_CONNECTED: Final = text("SHOW GLOBAL STATUS LIKE 'Threads_connected'")
_NO_WORKER: Final = update(worker_heartbeats).where(worker_heartbeats.c.worker_id == "").values(seen_at=utc_now())
"""A write that changes nothing: a server that is read-only, or an account that may not, refuses it all the same."""
_MAY_NOT: Final = frozenset({1142, 1143})


def examine(runtime: Runtime) -> list[DoctorCheck]:
    """``database`` and, as far as that one is there, ``schema``, ``writes``, ``durability``, ``clock`` or ``disk``."""
    if (silent := _silent(runtime)) is not None:
        return [silent]
    revision: str | None = None
    try:
        revision = runtime.database.revision()
        if runtime.database.embedded:
            revision = runtime.database.read(lambda _: HEAD_REVISION)  # it makes and migrates itself on first use
    except FlightctlError as error:
        if error.code != "SCHEMA_MISMATCH":  # of a file that is newer; its revision is known by then
            detail = f"{runtime.database.label}: {error.message}"
            return [DoctorCheck("database", FAILED, detail, error.hint), *_disk(runtime)]
    checks = [_guarded("database", runtime, _embedded if runtime.database.embedded else _server), _schema(revision)]
    if checks[-1].state == FAILED:
        return checks
    checks.append(_writes(runtime))
    if runtime.database.embedded:
        return [*checks, *_disk(runtime)]
    return [*checks, _guarded("durability", runtime, _durability), _guarded("clock", runtime, _clock)]


def _guarded(name: str, runtime: Runtime, check: Callable[[Runtime], DoctorCheck]) -> DoctorCheck:
    try:
        return check(runtime)
    except FlightctlError as error:
        return DoctorCheck(name, FAILED, error.message, error.hint)


def _ask(runtime: Runtime, work: Callable[[Transaction], T]) -> T:
    """For questions that need no schema. Raises what the driver's errors mean."""
    try:
        with runtime.database.engine.connect() as connection:
            return work(Transaction(connection, Operation()))
    except DBAPIError as error:
        raise translate(error) from error


def _schema(current: str | None) -> DoctorCheck:
    if current == HEAD_REVISION:
        return DoctorCheck("schema", OK, f"revision {current}")
    hint = "Run `flightctl db upgrade`."
    if current is not None and current > HEAD_REVISION:
        hint = "It was upgraded by a newer flightctl: install that one here."
    return DoctorCheck("schema", FAILED, f"revision {current or 'none'}, needed {HEAD_REVISION}", hint)


# --- when it does not answer


def _silent(runtime: Runtime) -> DoctorCheck | None:
    """The finding when no server even greets: a bare connection tells sooner than the driver, and tells where the
    trouble is: the name, the network, the port or the server. None when one does, or none can be asked so."""
    try:
        servers = [] if runtime.database.embedded else _servers(runtime.database.address)
        label = runtime.database.label
    except FlightctlError as error:
        return DoctorCheck("database", FAILED, error.message, error.hint)
    said = [(f"{host}:{port}", _probe(host, port)) for host, port in servers]
    if not said or any(trouble is None for _, trouble in said):
        return None
    told = ", ".join(f"{where} {trouble[0]}" for where, trouble in said if trouble)
    hint = next(trouble[1] for _, trouble in said if trouble)
    return DoctorCheck("database", FAILED, f"{label}: the database does not answer; {told}", hint)


def _servers(address: Address) -> list[tuple[str, int]]:
    """Host and port of each server; none for a socket file."""
    return [(node.host, node.port or DEFAULT_PORT) for node in address.nodes if node.host]


def _probe(host: str, port: int) -> tuple[str, str] | None:
    """What is wrong with a bare connection there, and the next step; None when a server greets."""
    try:
        with socket.create_connection((host, port), _PROBE_SECONDS) as connection:
            connection.settimeout(_PROBE_SECONDS)
            greets = bool(connection.recv(1))
    except socket.gaierror:
        return "is a name that nobody knows", "Check the host in FLIGHTCTL_DATABASE_URL, and the name server."
    except ConnectionRefusedError:
        return "refuses connections", "Nothing listens there: start the database server, or check host and port."
    except TimeoutError:
        return (
            "does not answer",
            "The server hangs, or a firewall drops the packets: look at the server's load, disk and log.",
        )
    except (ConnectionResetError, BrokenPipeError):
        greets = False
    except OSError as error:
        return f"cannot be reached ({error.strerror or error})", "Check the network between this machine and it."
    if not greets:
        return "hangs up", "Look at the server's log: it starts, stops, or does not let this host in."
    return None


# --- when it does


def _server(runtime: Runtime) -> DoctorCheck:
    row = _ask(runtime, lambda tx: tx.execute(_SERVER).one())
    connected = int(_ask(runtime, lambda tx: tx.execute(_CONNECTED).one()).Value)
    latency = median(_timed(runtime)[0] for _ in range(_LOOKS)) * 1000
    detail = (
        f"{runtime.database.label}: {_product(row.version)} on {row.host}, answers in {latency:.1f} ms,"
        f" {connected} of {row.most} connections"
    )
    if connected >= BUSY_SHARE * row.most:
        hint = "Raise max_connections, or find who keeps so many: SHOW PROCESSLIST."
        return DoctorCheck("database", WARNING, detail, hint)
    return DoctorCheck("database", OK, detail)


def _product(version: str) -> str:
    return f"MariaDB {version.partition('-')[0]}" if "MariaDB" in version else f"MySQL {version}"


def _embedded(runtime: Runtime) -> DoctorCheck:
    version = _ask(runtime, lambda tx: tx.execute(text("SELECT sqlite_version()")).scalar_one())
    latency = median(_timed(runtime)[0] for _ in range(_LOOKS)) * 1000
    return DoctorCheck("database", OK, f"{runtime.database.label}: SQLite {version}, answers in {latency:.1f} ms")


def _timed(runtime: Runtime) -> tuple[float, datetime]:
    """Seconds of a round trip, and what the database's clock said in its middle."""
    began = time.perf_counter()
    now: datetime = _ask(runtime, lambda tx: tx.execute(select(utc_now())).scalar_one())
    return time.perf_counter() - began, now


def _writes(runtime: Runtime) -> DoctorCheck:
    began = time.perf_counter()
    try:
        runtime.database.run(lambda tx: tx.change(_NO_WORKER))
    except FlightctlError as error:
        if error.details.get("databaseError") in _MAY_NOT:
            hint = "Enough for lists and searches; to book, take an account that may write."
            return DoctorCheck("writes", WARNING, "this account may only read", hint)
        return DoctorCheck("writes", FAILED, error.message, error.hint)
    return DoctorCheck("writes", OK, f"taken in {(time.perf_counter() - began) * 1000:.1f} ms")


def _durability(runtime: Runtime) -> DoctorCheck:
    """What makes a COMMIT outlive a power cut: MySQL manual, "Configuring InnoDB for ACID"; the binary log counts
    where there is one, since recovery decides by it."""
    row: Any = _ask(runtime, lambda tx: tx.execute(_SERVER).one())
    wrong = [] if row.flush_log == 1 else [f"innodb_flush_log_at_trx_commit = {row.flush_log}"]
    wrong += [f"sync_binlog = {row.sync_binlog}"] if row.log_bin and row.sync_binlog != 1 else []
    if not wrong:
        log = f"sync_binlog = {row.sync_binlog}" if row.log_bin else "no binary log"
        return DoctorCheck("durability", OK, f"innodb_flush_log_at_trx_commit = 1, {log}")
    hint = "Set both to 1 in the server's configuration."
    return DoctorCheck("durability", WARNING, f"{', '.join(wrong)}: a power cut may undo the last bookings", hint)


def _clock(runtime: Runtime) -> DoctorCheck:
    looks = []
    for _ in range(_LOOKS):
        seconds, now = _timed(runtime)
        looks.append((seconds, (now - datetime.now(UTC)).total_seconds() + seconds / 2))
    return clock_check("clock", min(looks)[1], "the database's")


def clock_check(name: str, ahead: float, whose: str) -> DoctorCheck:
    """``ahead``: seconds that the other clock is before this machine's."""
    if abs(ahead) <= CLOCK_SECONDS:
        return DoctorCheck(name, OK, f"{whose} and this machine's differ by {abs(ahead):.2f} s")
    side = "ahead of" if ahead > 0 else "behind"
    hint = "Synchronise both (chronyc tracking). Expiry goes by the database's clock; logs here are off by that much."
    return DoctorCheck(name, WARNING, f"{whose} is {abs(ahead):.1f} s {side} this machine's", hint)


def _disk(runtime: Runtime) -> list[DoctorCheck]:
    """Of the embedded file; a server's disk cannot be seen from here."""
    if not runtime.database.embedded:
        return []
    path = Path(runtime.database.address.database)
    folder = next((folder for folder in (path, *path.parents) if folder.is_dir()), Path("/"))
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return [DoctorCheck("disk", WARNING, f"{folder} cannot be looked at: {error.strerror}", "Check its rights.")]
    files = (path, Path(f"{path}-wal"))
    used = sum(file.stat().st_size for file in files if file.exists())
    detail = f"{free / 1e9:.1f} GB free in {folder}, {used / 1e6:.0f} MB used"
    if free >= LOW_DISK:
        return [DoctorCheck("disk", OK, detail)]
    state = FAILED if free < FULL_DISK else WARNING
    return [DoctorCheck("disk", state, detail, f"Free space in {folder}; a full disk refuses every booking.")]
