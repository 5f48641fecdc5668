"""A schema that a bench may fill and spoil: made on the configured server, dropped whatever ends the bench.

On a MySQL server it is a database ``flightctl_bench_<random>``, on the embedded default a temporary file; keys in
Redis stand behind a random prefix. The tables of the configured database are never opened.
"""

import contextlib
import secrets
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from flightctl.core.database import Database
from flightctl.core.database_url import configured_address
from flightctl.core.protection import refuse_in_production
from flightctl.core.redis_commands import Command
from flightctl.core.settings import Settings

NAME: Final = "flightctl_bench_"
_DROP_SECONDS: Final = 30
"""What is left of clients that were killed may hold tables for a moment; the server's own patience is a day."""
_REDIS_TIMEOUT: Final = 5.0
"""Seconds: cleaning up is in no hurry."""


@contextmanager
def scratch(settings: Settings) -> Iterator[Settings]:
    """The settings for an empty, migrated schema; it and its keys are gone afterwards.

    Raises EnvironmentProtectedError in production, and what ``Database.upgrade`` raises.
    """
    refuse_in_production(settings, "bench loads its servers to the limit; this environment is production")
    name = NAME + secrets.token_hex(4)
    with tempfile.TemporaryDirectory(prefix=NAME) as folder, _ended_by_signals():
        url = _scratch_url(settings, name, folder)
        changed = changed_settings(settings, {"database.url": url, "redis.prefix": name + ":"})
        try:
            database = Database(changed)
            database.upgrade()
            database.close()
            yield changed
        finally:
            with _undisturbed():
                _drop(changed, name)


def changed_settings(settings: Settings, values: dict[str, Any]) -> Settings:
    return replace(settings, values={**settings.values, **values})


def _scratch_url(settings: Settings, name: str, folder: str) -> str:
    address = configured_address(settings)
    target = str(Path(folder) / "flightctl.db") if address.embedded else name
    return address.named(target).render(hide_password=False)


def _drop(settings: Settings, name: str) -> None:
    """The name is this run's own and random, so that nothing else can be meant."""
    address = configured_address(settings)
    with contextlib.ExitStack() as both:  # the one is dropped even when the other fails
        if settings["redis.url"]:
            both.callback(_forget_keys, settings)
        if not address.embedded:
            both.callback(_drop_database, settings, name)


def _drop_database(settings: Settings, name: str) -> None:
    server = Database(settings).without_database()
    with server.connect() as connection:
        connection.exec_driver_sql(f"SET SESSION lock_wait_timeout = {_DROP_SECONDS}")
        connection.exec_driver_sql(f"DROP DATABASE IF EXISTS `{name}`")
    server.dispose()


def _forget_keys(settings: Settings) -> None:
    from redis.exceptions import RedisError

    from flightctl.core.cache import scan
    from flightctl.core.redis_url import redis_target
    from flightctl.core.redis_wire import make_wire

    wire = make_wire(redis_target(settings), _REDIS_TIMEOUT)
    deadline = time.monotonic() + _REDIS_TIMEOUT
    with contextlib.suppress(RedisError, OSError), contextlib.closing(wire):
        keys = list(scan(wire, settings["redis.prefix"] + "*", deadline))
        for start in range(0, len(keys), 1000):
            wire.ask([Command(("DEL", key), key.decode()) for key in keys[start : start + 1000]], deadline)


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end a bench as Ctrl-C does: through the clean-up."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.default_int_handler) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """A second Ctrl-C must not leave the schema behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
