"""`flightctl bench`, with tiny loads: its shape, its clean-up, its audit. What it measures is nobody's to assert."""

from __future__ import annotations

from typing import Any

import pytest

from flightctl.app import run
from tests.conftest import Backend, Cli

ROW = {"what", "perSecond", "p50Ms", "p99Ms", "peakMb", "ratios"}
TINY = {
    "book": ("--clients", "2", "--flights", "3", "--seconds", "0.4"),
    "book sold out": ("--clients", "2", "--seconds", "0.4", "--sold-out"),
    "search": ("--network", "india", "--clients", "2", "--seconds", "0.4", "--pairs", "2"),
    "pay": ("--clients", "2", "--flights", "20", "--seconds", "0.4"),
    "sweep": ("--holds", "300", "--flights", "50", "--clients", "2", "--seconds", "0.2"),
    "start": ("--passes", "1"),
    "seed": ("--flights", "300"),
}


def _leftovers(backend: Backend) -> list[tuple[Any, ...]]:
    return [] if backend.is_sqlite else backend.execute("SHOW DATABASES LIKE 'flightctl\\_bench\\_%'")


@pytest.mark.parametrize("backend", ["sqlite", "mysql+redis"], indirect=True)
@pytest.mark.parametrize("bench", TINY)
def test_each_bench(backend: Backend, cli: Cli, bench: str) -> None:
    before = _leftovers(backend)
    found = cli("bench", bench.partition(" ")[0], *TINY[bench], "-o", "json", env=backend.env, timeout=180).json()
    assert list(found) == [
        "bench", "clients", "flights", "seconds", "floor", "flightctl", "ratio", "rows", "violations",
    ]  # fmt: skip
    assert set(found["floor"]) == {"what", "perSecond", "p50Ms", "p99Ms"}
    assert set(found["flightctl"]) == {"perSecond", "p50Ms", "p99Ms", "peakMb"}
    assert found["ratio"] > 0
    assert found["violations"] == []
    assert all(set(row) == ROW for row in found["rows"])
    assert _leftovers(backend) == before
    assert backend.value("SELECT COUNT(*) FROM bookings") == 0
    assert backend.value("SELECT COUNT(*) FROM flights") == 0


@pytest.mark.parametrize("backend", ["mysql+redis"], indirect=True)
def test_published_counts_are_held_against_the_own_row_without(backend: Backend, cli: Cli) -> None:
    found = cli("bench", "book", *TINY["book"], "--locking", "redis", "-o", "json", env=backend.env, timeout=180).json()
    assert found["floor"]["what"] == "flightctl, locking database"
    assert found["rows"][-1]["ratios"][0]["against"] == "flightctl, locking database"


@pytest.mark.parametrize("backend", ["sqlite", "mysql"], indirect=True)
def test_damage_is_reported(
    backend: Backend, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A seat is stolen just before the audit."""
    from sqlalchemy import text

    from flightctl.core.bench import audited, book
    from flightctl.core.database import Database

    def damaged(settings: Any) -> Any:
        database = Database(settings)
        database.run(lambda tx: tx.change(text("UPDATE flights SET available_seats = available_seats - 1")))
        database.close()
        return audited.audit_scratch(settings)

    monkeypatch.setattr(book, "audit_scratch", damaged)
    for name, value in backend.env.items():
        monkeypatch.setenv(name, value)
    before = _leftovers(backend)
    assert run(["bench", "book", *TINY["book"], "-o", "json"]) == 9
    told = capsys.readouterr()
    assert "INVARIANT_VIOLATION" in told.err
    assert '"violations": [' in told.out
    assert _leftovers(backend) == before


@pytest.mark.parametrize("backend", ["mysql"], indirect=True)
def test_an_interrupted_bench_leaves_nothing(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    from flightctl.core.bench import book

    def interrupted(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(book, "compete", interrupted)
    for name, value in backend.env.items():
        monkeypatch.setenv(name, value)
    before = _leftovers(backend)
    assert run(["bench", "book", *TINY["book"]]) == 130
    assert _leftovers(backend) == before


def test_production_is_spared(backend: Backend, cli: Cli) -> None:
    env = {**backend.env, "FLIGHTCTL_ENVIRONMENT": "production"}
    assert cli("bench", "book", "-o", "json", env=env, check=4).error["code"] == "ENVIRONMENT_PROTECTED"


def test_more_writers_than_servers_are_refused(cli: Cli) -> None:
    error = cli("bench", "book", "--writers", "2", "-o", "json", check=2).error
    assert error["code"] == "VALIDATION_ERROR"
    assert "--writers 2" in error["message"]
