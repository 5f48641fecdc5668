"""The migrations make what the code expects, under the names that other people's SQL reads; and it holds."""

import sqlite3
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pymysql
import pytest

from flightctl.core import schema
from flightctl.core.database import Database
from flightctl.core.errors import SchemaMismatchError
from flightctl.core.model.schedules import SeedRequest
from flightctl.core.runtime import Runtime
from flightctl.core.seeding import seed
from flightctl.core.settings import load_settings
from tests.builders import LONG_AGO, World
from tests.conftest import Backend
from tests.servers import mysql_connection

NAMES = {
    "flights": "flight_id source destination departure_time arrival_time departure_date total_seats available_seats"
    " seat_version price status",
    "seat_reservations": "id booking_id flight_id seats expires_at created_at deleted_at outcome",
    "bookings": "booking_id user_id flight_type flight_identifier seats total_price status idempotency_key created_at"
    " updated_at",
    "booking_flights": "booking_id flight_id leg_order",
    "payments": "payment_id booking_id amount status source created_at updated_at",
    "refunds": "refund_id payment_id amount status",
    "booking_events": "booking_id at actor from_status to_status reason",
    "airports": "iata name city country time_zone",
}
BROKEN = (sqlite3.IntegrityError, pymysql.err.IntegrityError, pymysql.err.OperationalError, pymysql.err.DataError)


def database(url: str) -> Database:
    return Database(load_settings(environ={"FLIGHTCTL_DATABASE_URL": url}))


def test_head_is_the_newest_script() -> None:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(schema.__file__).parent / "migrations"))
    scripts = ScriptDirectory.from_config(config)
    assert scripts.get_heads() == [schema.HEAD_REVISION]
    revisions = [script.revision for script in scripts.walk_revisions()]
    assert sorted(revisions, reverse=True) == revisions  # names sort by age: _ensure_schema compares them


def _differs(_context: Any, _found_column: Any, _column: Any, found: Any, wanted: Any) -> bool | None:
    """FLOAT(53) is DOUBLE; the rest is for Alembic to decide."""
    return False if "DOUBLE" in repr(found) and getattr(wanted, "precision", None) == 53 else None


@pytest.mark.parametrize("server", ["sqlite", "mysql"])
def test_migrations_make_what_the_code_expects(server: str, request: pytest.FixtureRequest) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    store = database(request.getfixturevalue(f"{server}_url"))
    try:
        assert store.upgrade() == schema.HEAD_REVISION
        assert store.upgrade() == schema.HEAD_REVISION  # again is nothing
        assert store.current_revision() == schema.HEAD_REVISION
        with store.engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": _differs})
            assert compare_metadata(context, schema.metadata) == []
    finally:
        store.close()


def _checks(create: str) -> set[str]:
    return {
        word for word in create.replace("`", " ").replace('"', " ").split() if word.startswith(("ck_", "fk_", "uq_"))
    }


@pytest.mark.parametrize("server", ["sqlite", "mysql"])
def test_migrations_make_every_constraint(server: str, request: pytest.FixtureRequest) -> None:
    """Alembic compares no CHECKs."""
    url = request.getfixturevalue(f"migrated_{server}_url")
    connection: Any = sqlite3.connect(url.removeprefix("sqlite:///")) if server == "sqlite" else mysql_connection(url)
    cursor = connection.cursor()
    for table in schema.metadata.sorted_tables:
        if server == "sqlite":
            cursor.execute("SELECT sql FROM sqlite_master WHERE name = ?", (table.name,))
        else:
            cursor.execute(f"SHOW CREATE TABLE {table.name}")
        made = _checks(str(cursor.fetchone()[-1]))
        wanted = {str(constraint.name) for constraint in table.constraints if constraint.name}
        assert wanted <= made, table.name
    connection.close()


def test_names_that_other_peoples_sql_reads(world: World) -> None:
    for table, columns in NAMES.items():
        world.sql(f"SELECT {', '.join(columns.split())} FROM {table}")


def test_times_have_microseconds_and_money_is_exact(backend: Backend) -> None:
    world = World(backend)
    world.line(price="1000.10")
    world.booked("CF_DEL_MAA_F1_F2_F3", 3)
    if backend.is_sqlite:
        assert world.sql("SELECT DISTINCT typeof(price), price FROM flights") == [("integer", 100010)]
        assert world.sql("SELECT typeof(total_price), total_price FROM bookings") == [("integer", 900090)]
        assert world.sql("SELECT typeof(amount), amount FROM payments") == [("integer", 900090)]
    else:
        types = world.sql(
            "SELECT table_name, column_name, column_type FROM information_schema.columns"
            " WHERE table_schema = DATABASE() AND (data_type = 'datetime' OR column_name IN"
            " ('price', 'total_price', 'amount'))"
        )
        assert {kind for _, column, kind in types if column in {"price", "total_price", "amount"}} == {"decimal(12,2)"}
        assert {kind for _, column, kind in types if kind.startswith("datetime")} == {"datetime(6)"}
        assert len(types) > 15
    world.close()


def test_every_airport_of_the_world_is_there(world: World) -> None:
    from zoneinfo import ZoneInfo

    assert world.one("SELECT COUNT(*) FROM airports") > 7000
    [row] = world.sql("SELECT city, country, time_zone FROM airports WHERE iata = 'BOM'")
    assert row == ("Mumbai", "IN", "Asia/Kolkata")
    for (zone,) in world.sql("SELECT DISTINCT time_zone FROM airports"):
        ZoneInfo(zone)


def test_a_search_by_date_uses_an_index(world: World) -> None:
    query = "SELECT * FROM flights WHERE source = 'DEL' AND departure_date = '2026-12-01'"
    world.line()
    plan = world.sql(f"EXPLAIN {'QUERY PLAN ' if world.backend.is_sqlite else ''}{query}")
    assert "ix_flights_" in str(plan)


BREAKING = {
    "negative seats": "UPDATE flights SET available_seats = -1",
    "more seats than there are": "UPDATE flights SET available_seats = total_seats + 1",
    "fewer than are taken": "UPDATE flights SET total_seats = available_seats - 1",
    "no seats": "UPDATE flights SET total_seats = 0, available_seats = 0",
    "negative price": "UPDATE flights SET price = -1",
    "unknown flight status": "UPDATE flights SET status = 'DELAYED'",
    "arrives before it departs": f"UPDATE flights SET arrival_time = '{LONG_AGO}'",
    "no seats booked": "UPDATE bookings SET seats = 0",
    "negative total": "UPDATE bookings SET total_price = -1",
    "unknown booking status": "UPDATE bookings SET status = 'LOST'",
    "unknown type": "UPDATE bookings SET flight_type = 'CHARTER'",
    "no key": "UPDATE bookings SET idempotency_key = NULL",
    "the same key twice": "UPDATE bookings SET idempotency_key = 'same'",
    "no seats held": "UPDATE seat_reservations SET seats = 0",
    "negative seats held": "UPDATE seat_reservations SET seats = -1",
    "ended without an outcome": f"UPDATE seat_reservations SET deleted_at = '{LONG_AGO}'",
    "an outcome without an end": "UPDATE seat_reservations SET outcome = 'EXPIRED'",
    "unknown outcome": f"UPDATE seat_reservations SET deleted_at = '{LONG_AGO}', outcome = 'LOST'",
    "hold of no booking": "UPDATE seat_reservations SET booking_id = 'NOBODY'",
    "hold of no flight": "UPDATE seat_reservations SET flight_id = 'NOSUCH'",
    "leg of no flight": "UPDATE booking_flights SET flight_id = 'NOSUCH'",
    "fourth leg": "UPDATE booking_flights SET leg_order = 4",
    "payment of no booking": "UPDATE payments SET booking_id = 'NOBODY'",
    "negative payment": "UPDATE payments SET amount = -1",
    "unknown payment status": "UPDATE payments SET status = 'LOST'",
    "unknown source": "UPDATE payments SET source = 'CASH'",
    "negative refund": "UPDATE refunds SET amount = -1",
    "unknown refund status": "UPDATE refunds SET status = 'LOST'",
    "refund of no payment": "UPDATE refunds SET payment_id = 'nosuch'",
    "event of no booking": "UPDATE booking_events SET booking_id = 'NOBODY'",
    "event without a reason": "UPDATE booking_events SET reason = NULL",
    "a flight goes, its bookings stay": "DELETE FROM flights",
    "a booking goes, its money stays": "DELETE FROM bookings",
    "a payment goes, its refund stays": "DELETE FROM payments",
}


def test_the_database_itself_keeps_the_rules(world: World) -> None:
    world.line()
    world.booked()
    world.release(world.confirmed())
    kept = []
    for what, statement in BREAKING.items():
        before = world.picture()
        try:
            world.sql(statement)
        except BROKEN:
            assert world.picture() == before
            continue
        kept.append(what)
        break
    assert kept == []


# --- versions --------------------------------------------------------------------------------------------------------


def _use(world: World) -> list[Callable[[], object]]:
    from flightctl.core.lists import show_booking

    store = Database(world.backend.settings())
    runtime = world.another(FLIGHTCTL_DATABASE_URL=world.backend.database_url)  # its own: it has checked nothing
    return [lambda: store.read(lambda tx: None), lambda: show_booking(runtime, "ZZZZZZ")]


@pytest.mark.parametrize("backend", ["mysql"], indirect=True)
@pytest.mark.parametrize(
    ("revision", "words"), [("0000", "older"), ("9999", "newer"), (None, "no flightctl schema")], ids=str
)
def test_a_server_of_another_version(world: World, revision: str | None, words: str) -> None:
    if revision is None:
        world.sql("DELETE FROM alembic_version")
    else:
        world.sql("UPDATE alembic_version SET version_num = %s", revision)
    try:
        for use in _use(world):
            with pytest.raises(SchemaMismatchError, match=words) as caught:
                use()
            assert "flightctl db upgrade" in caught.value.hint
            assert caught.value.exit_status == 7
            assert not caught.value.retryable
            assert caught.value.details == {"current": revision, "expected": schema.HEAD_REVISION}
    finally:
        world.sql("DELETE FROM alembic_version")
        world.sql("INSERT INTO alembic_version (version_num) VALUES (%s)", schema.HEAD_REVISION)


def test_an_empty_server(mysql_url: str) -> None:
    store = database(mysql_url)
    with pytest.raises(SchemaMismatchError, match="no flightctl schema yet") as caught:
        store.read(lambda tx: None)
    assert "flightctl db upgrade" in caught.value.hint
    assert store.current_revision() is None
    store.close()


def test_without_tables_a_seed_reads_no_file_first(mysql_url: str) -> None:
    runtime = Runtime(load_settings(environ={"FLIGHTCTL_DATABASE_URL": mysql_url}))
    with pytest.raises(SchemaMismatchError):
        seed(runtime, SeedRequest(file="/no/such/file", start="2030-01-01"))
    runtime.close()


def test_a_newer_server_is_not_touched_by_an_upgrade(migrated_mysql_url: str) -> None:
    connection = mysql_connection(migrated_mysql_url)
    connection.cursor().execute("UPDATE alembic_version SET version_num = '9999'")
    store = database(migrated_mysql_url)
    with pytest.raises(SchemaMismatchError, match="newer"):
        store.upgrade()
    assert store.current_revision() == "9999"
    store.close()
    connection.close()


def test_a_newer_file(migrated_sqlite_url: str) -> None:
    with sqlite3.connect(migrated_sqlite_url.removeprefix("sqlite:///")) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    store = database(migrated_sqlite_url)
    with pytest.raises(SchemaMismatchError, match="newer") as caught:
        store.read(lambda tx: None)
    assert "flightctl db upgrade" in caught.value.hint
    store.close()


def test_a_file_is_made_and_migrated_on_first_use(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "er" / "f.db"
    store = database(f"sqlite:///{file}")
    assert store.read(lambda tx: 7) == 7
    with store.engine.connect() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 10_000}
    store.close()


def test_many_processes_find_an_empty_file(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    url = f"sqlite:///{tmp_path / 'f.db'}"
    stores = [database(url) for _ in range(5)]
    with ThreadPoolExecutor(5) as pool:
        assert list(pool.map(lambda store: store.read(lambda tx: 1), stores)) == [1] * 5
    for store in stores:
        store.close()


def test_the_missing_database_is_made_by_an_upgrade(mariadb: Any) -> None:
    name = "flightctl_test_fresh"
    mariadb.drop_database(name)
    store = database(mariadb.url(name))
    try:
        assert store.upgrade() == schema.HEAD_REVISION
        assert store.read(lambda tx: 1) == 1
    finally:
        store.close()
        mariadb.drop_database(name)


def test_tls_is_made_ready_only_where_the_url_asks_for_it(
    migrated_mysql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Made(Exception):
        pass

    def refuse(**_: object) -> None:
        raise Made

    with monkeypatch.context() as patched:  # the fixtures connect too
        patched.setattr(ssl, "create_default_context", refuse)
        assert database(migrated_mysql_url).revision() == schema.HEAD_REVISION
        with pytest.raises(Made):
            database(migrated_mysql_url + "?ssl_ca=/etc/ca.pem").revision()
