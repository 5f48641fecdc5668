"""``bench start``: whole processes, which is what an agent waits for, next to the imports they cannot do without."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Final

from flightctl.core.bench.audited import audit_scratch
from flightctl.core.bench.book import add_flights
from flightctl.core.bench.result import BenchResult, Row, row_of
from flightctl.core.bench.scratch import scratch
from flightctl.core.errors import ServiceUnavailableError
from flightctl.core.settings import Settings

PASSES: Final = 30
_SEATS: Final = 10_000
"""Of the one flight: a bookable number for every pass that is allowed, and one that Redis may hold."""
_CLI: Final = (sys.executable, "-m", "flightctl")
_DAYS_AHEAD: Final = "+2d"
"""When the scratch schema's flights leave."""


def bench_start(settings: Settings, *, passes: int = PASSES) -> BenchResult:
    """Medians of whole processes, floor and command in turns."""
    with scratch(settings) as changed:
        [flight_id] = add_flights(changed, 1, seats=_SEATS)
        environment = _environment(changed)
        search = (*_CLI, "search", "DEL", "BLR", "--date", _DAYS_AHEAD, "-o", "json")
        redis = ", redis" if changed["redis.url"] else ""
        driver = "sqlite3" if changed["database.url"].startswith("sqlite") else "pymysql"
        pairs = (
            ("import typer, rich.console", (*_CLI, "--help")),
            (f"import typer{redis}" if redis else f"import typer, sqlalchemy, {driver}", search),
            (f"import typer{redis}, sqlalchemy, {driver}", (*_CLI, "book", flight_id, "--user", "bench", "-o", "json")),
        )
        _run(search, environment)  # fills Redis
        began = time.monotonic()
        rows: list[Row] = []
        for imports, command in pairs:
            rows += _pair(imports, command, environment, passes)
        violations = audit_scratch(changed)
    return BenchResult("start", 1, 1, time.monotonic() - began, rows[0], rows[1], tuple(rows), violations)


def _pair(imports: str, command: Sequence[str], environment: Mapping[str, str], passes: int) -> tuple[Row, Row]:
    floor_command = (sys.executable, "-c", imports)
    taken: tuple[list[float], list[float]] = ([], [])
    for counted in range(-1, passes):  # the first is not: it reads files that are then in memory
        for times, arguments in zip(taken, (floor_command, command), strict=True):
            before = time.perf_counter()
            _run(arguments, environment)
            if counted >= 0:
                times.append(time.perf_counter() - before)
    floor = row_of(f"python -c '{imports}'", taken[0])
    own = row_of(" ".join(("flightctl", *command[len(_CLI) :])), taken[1])
    return floor, own.at_ratio(floor, floor.p50_ms / own.p50_ms)


def _run(arguments: Sequence[str], environment: Mapping[str, str]) -> None:
    done = subprocess.run(arguments, env=environment, capture_output=True, check=False)  # noqa: S603 - our own
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise ServiceUnavailableError(f"{' '.join(arguments[1:4])} ended with {done.returncode}: {''.join(last)}")


def _environment(settings: Settings) -> dict[str, str]:
    """The commands' settings: the scratch schema's. Bytecode may be kept, as that of an installed package is."""
    kept = (name for name in os.environ if not name.startswith("FLIGHTCTL_") and name != "PYTHONDONTWRITEBYTECODE")
    environment = {name: os.environ[name] for name in kept}
    environment["FLIGHTCTL_CONTEXT"] = ""
    return environment | {
        "FLIGHTCTL_DATABASE_URL": settings["database.url"],
        "FLIGHTCTL_DATABASE_TLS": settings["database.tls"],
        "FLIGHTCTL_DATABASE_TLS_CA": settings["database.tls_ca"],
        "FLIGHTCTL_DATABASE_TLS_CERT": settings["database.tls_cert"],
        "FLIGHTCTL_DATABASE_TLS_KEY": settings["database.tls_key"],
        "FLIGHTCTL_REDIS_URL": settings["redis.url"],
        "FLIGHTCTL_REDIS_PREFIX": settings["redis.prefix"],
    }
