"""Every statement of the hot and the list paths finds its rows by an index: with tables ten times as large it reads as
many rows. (Counts of a list's whole length are the exception, and tested to be that alone.)"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from flightctl.app import run
from flightctl.core import audit_checks, vitals
from flightctl.core.database import Database
from tests.conftest import Backend
from tests.plans import Seen, Watch
from tests.servers import SchemaCopy, mysql_connection
from tests.volume import fill_season

BOOKINGS, FLIGHTS = 10_000, 4_000
MOST = 2_500
"""Rows that one statement may read: PENDING bookings are 200, and some are read with what hangs on them."""


class Season:
    def __init__(self, url: str) -> None:
        self.backend = Backend("mysql", url, "")
        self.connection = mysql_connection(url)
        self.value("SET SESSION optimizer_switch = 'rowid_filter=off'")  # as on flightctl's own connections
        fill_season(self.value, BOOKINGS, FLIGHTS)
        self.flight, self.source, self.destination, self.day = self.row(
            "SELECT flight_id, source, destination, CAST(departure_date AS CHAR) FROM flights"
            " WHERE status = 'ACTIVE' AND departure_time > UTC_TIMESTAMP() + INTERVAL 5 DAY LIMIT 1"
        )
        self.user = self.value("SELECT user_id FROM bookings LIMIT 1")
        self.due = self.value("SELECT payment_id FROM payments WHERE status = 'REFUND_DUE' LIMIT 1")
        self.waiting = self.column("SELECT booking_id FROM bookings WHERE status = 'PENDING' LIMIT 9")
        self.paid = self.value(
            "SELECT booking_id FROM bookings JOIN booking_flights USING (booking_id) JOIN flights USING (flight_id)"
            " WHERE bookings.status = 'CONFIRMED' AND departure_time > UTC_TIMESTAMP() LIMIT 1"
        )

    def column(self, text: str) -> list[Any]:
        with self.connection.cursor() as cursor:
            cursor.execute(text)
            return [row[0] for row in cursor.fetchall()]

    def row(self, text: str) -> tuple[Any, ...]:
        with self.connection.cursor() as cursor:
            cursor.execute(text)
            return cursor.fetchone() or ()

    def value(self, text: str) -> Any:
        return next(iter(self.row(text)), None)


@pytest.fixture(scope="module")
def season(mariadb: Any, migrated_schema: SchemaCopy) -> Iterator[Season]:
    with mariadb.admin() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT VERSION()")
        version = cursor.fetchone()[0]
    if "MariaDB" not in version:
        pytest.skip(f"the season is laid in by MariaDB's sequences, this is MySQL {version}")
    name = "flightctl_test_season"
    mariadb.create_database(name)
    migrated_schema.make(name)
    made = Season(mariadb.url(name))
    yield made
    made.connection.close()
    mariadb.drop_database(name)


def _seen(season: Season, monkeypatch: pytest.MonkeyPatch, *args: str) -> list[Seen]:
    for name, value in (
        season.backend.env | {"FLIGHTCTL_GATEWAY_DELAY": "0s", "FLIGHTCTL_PAYMENTS_BATCH_SIZE": "5"}
    ).items():
        monkeypatch.setenv(name, value)
    with Watch(season.connection).watching() as seen:
        assert run([word.format(**vars(season)) for word in args]) == 0
    return seen


def _scans(seen: list[Seen]) -> str:
    scans = [one for one in seen if one.reads > MOST or any(part.scan and part.rows > MOST for part in one.plan)]
    return "\n".join(map(str, scans))


@pytest.mark.parametrize(
    "command",
    [
        "book {flight} --user someone",
        "bookings show {paid}",
        "bookings history {paid}",
        "bookings list --user {user} -o json",
        "bookings list --flight {flight} -o json",
        "bookings list --status PENDING -o json",
        "payments show {due}",
        "payments list --status REFUND_DUE -o json",
        "payments list --due -o json",
        "payments late --since today -o json",
        "holds list -o json",
        "holds list --user {user} -o json",
        "holds list --flight {flight} -o json",
        "flights list --source {source} --destination {destination} --date {day} -o json",
        "flights list --status CANCELLED -o json",
        "flights list --date today -o json",
        "flights show {flight}",
        "manifest {flight}",
        "search {source} {destination} --date {day}",
        "confirm {waiting[0]}",
        "release {waiting[1]}",
        "release {paid} --yes",
        "holds extend {waiting[2]} --by 1m",
        "holds extend --all --by 1m",
        "payments process",
        "sweep",
        "db archive --before 2020-01-01",
    ],
)
def test_a_command_reads_by_indexes(season: Season, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    if command == "sweep":
        season.value(
            "UPDATE seat_reservations SET expires_at = UTC_TIMESTAMP(6) WHERE deleted_at IS NULL ORDER BY id LIMIT 5"
        )
    seen = _seen(season, monkeypatch, *command.split())
    assert seen
    assert _scans(seen) == ""


def test_a_look_at_the_vitals_reads_by_indexes(season: Season) -> None:
    database = Database(season.backend.settings())
    try:
        with Watch(season.connection).watching() as seen:
            database.read(vitals.look)
    finally:
        database.close()
    assert len(seen) > 5
    assert _scans(seen) == ""


@pytest.mark.parametrize("command", ["bookings list", "bookings list --status CONFIRMED", "payments list"])
def test_of_a_long_list_only_the_count_reads_more(
    season: Season, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    seen = _seen(season, monkeypatch, *command.split(), "-o", "json")
    counts = [one for one in seen if "count(*)" in one.sql]
    assert _scans(counts) != ""
    assert _scans([one for one in seen if one not in counts]) == ""


def test_no_query_of_an_audit_grows_with_the_tables(season: Season, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten thousand bookings, and no statement that reads more than some times as many rows as a piece has."""
    monkeypatch.setattr(audit_checks, "_ROWS", BOOKINGS // 40)
    monkeypatch.setattr(audit_checks, "_FLIGHTS", FLIGHTS // 40)
    for name, value in season.backend.env.items():
        monkeypatch.setenv(name, value)
    with Watch(season.connection).watching() as seen:
        run(["audit", "-o", "json"])
    assert len(seen) > 5 * 40
    assert _scans(seen) == ""


def test_control_without_its_index_a_sweep_reads_every_flight(season: Season, monkeypatch: pytest.MonkeyPatch) -> None:
    season.value("DROP INDEX ix_flights_status ON flights")
    try:
        seen = _seen(season, monkeypatch, "sweep")
    finally:
        season.value("CREATE INDEX ix_flights_status ON flights (status, departure_time)")
    assert "ix_flights_departure" in _scans(seen) or "no index" in _scans(seen)
