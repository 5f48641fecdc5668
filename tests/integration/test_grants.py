"""Accounts with exactly the rights that `db grants` prints: each does its own work, and is refused what is not."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flightctl.core import flights, lists, workers
from flightctl.core.archive import archive
from flightctl.core.audit import audit
from flightctl.core.database_url import parse_address
from flightctl.core.doctor import examine
from flightctl.core.errors import ConfigError, DatabaseUnavailableError, ValidationError
from flightctl.core.grants import Role, grants
from flightctl.core.packed_days import keep_packed, pack_days
from flightctl.core.runtime import Runtime
from flightctl.core.settings import load_settings
from tests.builders import DIRECT, LONG_AGO, TWO_LEGS, World
from tests.concurrency import crew as acts
from tests.conftest import Backend
from tests.servers import ExternalMySQL, MariaDB

pytestmark = pytest.mark.parametrize("backend", ["mysql"], indirect=True)

Act = Callable[[World, Runtime], Any]


def _booked(world: World) -> str:
    return world.booked(TWO_LEGS)


def _lapsed(world: World) -> None:
    world.lapse(world.booked(TWO_LEGS))


def _counter_money_due(world: World) -> str:
    booking = world.confirmed()
    world.release(booking)
    return world.payment(booking)


def _retaken(world: World, account: Runtime) -> Any:
    return acts.confirm(account, world.expired(TWO_LEGS))


def _archived(world: World) -> str:
    booking = world.confirmed(world.flight("OLD"))
    world.sql(
        "UPDATE flights SET departure_time = %s, arrival_time = '2020-01-01 02:00:00', departure_date = '2020-01-01'"
        " WHERE flight_id = 'OLD'",
        LONG_AGO,
    )
    assert archive(world.runtime, before="2020-02-01").flights == 1
    return booking


def _beat(_world: World, account: Runtime) -> Any:
    def work(tx: Any) -> None:
        workers.beat(tx, "w", "payments")
        workers.beat(tx, "w", "payments")
        workers.leave(tx, "w")

    return account.database.run(work)


def _outdated(world: World) -> None:
    world.sql("INSERT INTO packed_days VALUES ('2020-01-01', '', %s, 0, '', %s)", LONG_AGO, LONG_AGO)


def _add(_world: World, account: Runtime) -> Any:
    return flights.add(
        account,
        flight="XX1",
        source="DEL",
        destination="BOM",
        departure="2099-01-01T10:00",
        arrival="2099-01-01T12:00",
        seats=10,
        price="10",
    )


READS: dict[str, Act] = {
    "search": lambda world, account: world.search(runtime=account),
    "bookings list": lambda _, account: lists.list_bookings(
        account, user=None, status=None, flight=None, page=0, size=5
    ),
    "bookings show": lambda world, account: lists.show_booking(account, _booked(world)),
    "bookings history": lambda world, account: lists.booking_history(account, _booked(world)),
    "flights list": lambda _, account: lists.list_flights(
        account, source=None, destination=None, date=None, status=None, page=0, size=5
    ),
    "flights seats": lambda _, account: flights.seats(account, DIRECT),
    "payments list": lambda _, account: lists.list_payments(account, status=None, page=0, size=5),
    "audit": lambda _, account: audit(account),
    "doctor": lambda _, account: [check for check in examine(account) if check.state == "failed"] and 1 / 0,
}
SALES: dict[str, Act] = {
    "book": lambda _, account: acts.book(account, TWO_LEGS, 2),
    "confirm": lambda world, account: acts.confirm(account, _booked(world)),
    "confirm an expired one": _retaken,
    "release": lambda world, account: acts.release(account, _booked(world)),
    "release a confirmed one": lambda world, account: acts.release(account, world.confirmed(), yes=True),
}
WORK: dict[str, Act] = {
    "sweep": lambda world, account: (_lapsed(world), acts.sweep(account))[1]["bookings"] or 1 / 0,
    "payments process": lambda world, account: (_booked(world), acts.process(account))[1]["succeeded"] or 1 / 0,
    "callback": lambda world, account: acts.callback(account, _booked(world), "FAILURE"),
}
PACK: dict[str, Act] = {
    "routes pack": lambda _, account: [pack_days(account, date="today", days=1) for _ in range(2)],
    "days kept packed": lambda world, account: (_outdated(world), keep_packed(account, 1))[1] and None,
}
DESK: dict[str, Act] = {
    "callback of an unknown payment": lambda world, account: acts.callback(account, _booked(world), payment="bank-1"),
    "callback of an archived booking": lambda world, account: acts.callback(
        account, _archived(world), payment="bank-2"
    ),
    "refund": lambda world, account: acts.refund(account, _counter_money_due(world)),
    "flights add": _add,
    "flights update": lambda _, account: flights.update(account, DIRECT, seats=220),
    "audit --repair": lambda _, account: audit(account, repair=True),
    "flights cancel": lambda world, account: (_booked(world), acts.cancel_flight(account, DIRECT))[1],
}
MAY: dict[Role, dict[str, Act]] = {
    Role.READER: READS,
    Role.AGENT: READS | SALES,
    Role.DAEMON: READS | WORK | PACK | {"heartbeat": _beat},
    Role.OPERATOR: READS | SALES | WORK | PACK | DESK,
}
MAY_NOT: dict[Role, dict[str, Act]] = {
    Role.READER: SALES
    | WORK
    | PACK
    | {name: act for name, act in DESK.items() if name not in {"audit --repair", "callback of an archived booking"}}
    | {"heartbeat": _beat},
    Role.AGENT: {name: DESK[name] for name in ("refund", "flights add", "flights update", "flights cancel")}
    | {"payments process": WORK["payments process"]}
    | PACK,
    Role.DAEMON: {"book": SALES["book"]} | {name: DESK[name] for name in ("flights add", "flights update")},
    Role.OPERATOR: {"heartbeat": _beat},
}


@pytest.fixture
def account(world: World, mariadb: MariaDB | ExternalMySQL, request: pytest.FixtureRequest) -> Iterator[Runtime]:
    """A runtime that connects as the role's account."""
    role: Role = request.param
    name = f"t_{uuid.uuid4().hex[:12]}"
    url = parse_address(world.backend.database_url).url
    host = "127.0.0.1" if isinstance(mariadb, MariaDB) else "%"
    with mariadb.admin() as admin, admin.cursor() as cursor:
        cursor.execute(f"CREATE USER '{name}'@'{host}' IDENTIFIED BY 'pw'")
        for grant in grants(world.backend.settings(), [role], f"{name}@{host}"):
            cursor.execute(grant.statement)
    environ = {"FLIGHTCTL_DATABASE_URL": url.set(username=name, password="pw").render_as_string(hide_password=False)}
    runtime = Runtime(load_settings(environ=environ), actor=str(role))
    yield runtime
    runtime.close()
    with mariadb.admin() as admin, admin.cursor() as cursor:
        cursor.execute(f"DROP USER '{name}'@'{host}'")


@pytest.mark.parametrize("account", list(Role), indirect=True, ids=str)
def test_each_role_does_its_work_and_no_other(world: World, account: Runtime) -> None:
    role = Role(account.actor)
    world.line(seats=200)
    for name, act in MAY[role].items():
        try:
            act(world, account)
        except DatabaseUnavailableError as error:
            pytest.fail(f"{role} may not do {name}: {error.message}")
    for name, act in MAY_NOT[role].items():
        print(f"{role}: {name}")
        with pytest.raises(DatabaseUnavailableError, match=r"this account may not [A-Z, ]+ in the table \w+"):
            _raised(act, world, account)
    assert world.faults() == []


def _raised(act: Act, world: World, account: Runtime) -> None:
    """What one payment or booking of a batch failed by is told in the batch's result."""
    result = act(world, account)
    for line in [*result.get("errors", []), *result.get("skipped", [])] if isinstance(result, dict) else []:
        raise DatabaseUnavailableError(str(line).partition(": ")[2])


def test_rights_are_by_table_and_column(backend: Backend) -> None:
    statements = [grant.statement for grant in grants(backend.settings(), [Role.READER], "ops@10.0.0.%")]
    assert all("GRANT SELECT ON `" in statement for statement in statements)
    assert all(statement.endswith("TO 'ops'@'10.0.0.%';") for statement in statements)
    agent = "\n".join(grant.statement for grant in grants(backend.settings(), [Role.AGENT], None))
    assert "GRANT SELECT, UPDATE (available_seats, seat_version) ON" in agent
    assert "INSERT, DELETE ON" in agent  # legs of a booking that moves
    assert "UPDATE ON" not in agent
    assert "'flightctl_agent'@'%'" in agent


@pytest.mark.parametrize("user", ["", "a'b", "a@", "a`", "x" * 81, "a@b'"])
def test_a_name_that_is_no_account_is_refused(backend: Backend, user: str) -> None:
    with pytest.raises(ValidationError):
        grants(backend.settings(), list(Role), user or " ")


def test_the_embedded_database_has_no_accounts(backend: Backend) -> None:
    with pytest.raises(ConfigError):
        grants(load_settings(environ={}), list(Role), None)
