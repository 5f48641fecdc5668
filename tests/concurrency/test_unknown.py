"""The connection is lost exactly at COMMIT: the command finds out what really happened, or says that nobody knows."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flightctl.core import records
from tests.concurrency import crew as acts
from tests.concurrency.conftest import on
from tests.concurrency.crew import Job, perform
from tests.concurrency.support import ZM, ZMA, World, Z
from tests.faults import Action, TcpProxy, commits
from tests.servers import mysql_connection

pytestmark = [on("mysql+redis")]

BEFORE, AFTER = Action.CUT_BEFORE_FORWARD, Action.CUT_BEFORE_ANSWER
BOTH = pytest.mark.parametrize("action", [BEFORE, AFTER], ids=["never arrived", "answer lost"])


@pytest.fixture
def proxy(world: World) -> Iterator[TcpProxy]:
    host, _, port = world.backend.database_url.partition("@")[2].partition("/")[0].partition(":")
    with TcpProxy(host, int(port)) as made:
        yield made


def _env(world: World, proxy: TcpProxy, **variables: str) -> dict[str, str]:
    return {**world.env, "FLIGHTCTL_DATABASE_URL": proxy.url(world.backend.database_url), **variables}


def at_commit(action: Action, *, skip: int = 0, then: Callable[[], None] = lambda: None) -> Callable[[bytes], Action]:
    """For the proxy: does that to the first packet that ends in COMMIT (after ``skip``), and calls ``then``."""
    left = [skip, 1]

    def hook(data: bytes) -> Action:
        if not commits(data) or not left[1]:
            return Action.FORWARD
        if left[0]:
            left[0] -= 1
            return Action.FORWARD
        left[1] = 0
        then()
        return action

    return hook


def _confirmed(world: World) -> str:
    booking = str(acts.book(world.own, ZM, 2)["booking"])
    acts.confirm(world.own, booking)
    return booking


def _counter_refund(world: World) -> str:
    booking = _confirmed(world)
    acts.release(world.own, booking, yes=True)
    return world.payment_id(booking)


def _lapsed(world: World) -> dict[str, Any]:
    for identifier in Z, ZM, ZMA:
        acts.book(world.own, identifier, 1)
    world.lapse()
    return {}


def _pending(world: World) -> dict[str, Any]:
    return {"booking": acts.book(world.own, ZM, 2)["booking"]}


def _two_on_the_flight(world: World) -> dict[str, Any]:
    acts.book(world.own, Z, 1)
    acts.book(world.own, ZM, 1)
    return {"flight": Z}


def _disrupted(world: World) -> dict[str, Any]:
    """One finds seats elsewhere, the other does not."""
    for _ in range(2):
        _confirmed(world)
    plan = str(Path(tempfile.gettempdir()) / f"flightctl-unknown-{os.getpid()}.json")
    world.disrupt(2, plan)
    return {"plan": plan}


# Act, scene, and what the command must say: the same as if no connection had been lost.
COMMANDS: dict[str, tuple[str, Callable[[World], dict[str, Any]], dict[str, Any]]] = {
    "book": ("book", lambda _: {"identifier": ZM, "seats": 2, "key": "k"}, {"replayed": False, "status": "PENDING"}),
    "confirm": ("confirm", _pending, {"status": "CONFIRMED", "changed": True}),
    "release": ("release", _pending, {"status": "CANCELLED", "changed": True}),
    "release a confirmed one": (
        "release",
        lambda world: {"booking": _confirmed(world), "yes": True},
        {"status": "CANCELLED", "changed": True},
    ),
    "release a part": (
        "release",
        lambda world: {**_pending(world), "seats": 1},
        {"status": "PENDING", "changed": True, "seats": 1},
    ),
    "release a part of a confirmed one": (
        "release",
        lambda world: {"booking": _confirmed(world), "yes": True, "seats": 1},
        {"status": "CONFIRMED", "changed": True, "seats": 1},
    ),
    "callback SUCCESS": ("callback", _pending, {"status": "CONFIRMED", "payment": "SUCCESS", "changed": True}),
    "callback FAILURE": (
        "callback",
        lambda world: {**_pending(world), "status": "FAILURE"},
        {"status": "FAILED", "payment": "FAILED", "changed": True},
    ),
    "callback of an unknown payment": (
        "callback",
        lambda world: {**_pending(world), "payment": "bank-1"},
        {"status": "CONFIRMED", "payment": "SUCCESS", "changed": True},
    ),
    "sweep": ("sweep", _lapsed, {"bookings": 3, "reservations": 6, "seats": 6, "skipped": []}),
    "refund by hand": (
        "refund",
        lambda world: {"payment": _counter_refund(world)},
        {"status": "REFUNDED", "changed": True},
    ),
    "process": ("process", lambda world: _pending(world) and {}, {"errors": []}),
    "hold extend": ("extend", _pending, {"status": "PENDING", "changed": True}),
    "hold extend all": (
        "extend_all",
        lambda world: _pending(world) and _pending(world) and {},
        {"extended": 2, "skipped": 0, "failed": 0},
    ),
    "reaccommodate": (
        "reaccommodate",
        _disrupted,
        {"moved": 1, "cancelled": 1, "unchanged": 0, "failed": 0},
    ),
    "flight cancel": ("cancel_flight", _two_on_the_flight, {"changed": True, "failed": []}),
}


@BOTH
@pytest.mark.parametrize("name", COMMANDS)
def test_a_lost_commit_is_told_as_it_really_went(world: World, proxy: TcpProxy, name: str, action: Action) -> None:
    """At every COMMIT of the command in turn. Guards: the key's unique index; records.done_before."""
    act, scene, expected = COMMANDS[name]
    wrong = []
    for skip in range(6):
        world.fill(seats=9)
        arguments = scene(world)
        world.publish_counts()
        runtime = acts.make_runtime(_env(world, proxy))
        runtime.database.read(lambda tx: tx)
        reached = threading.Event()
        proxy.on_client_bytes = at_commit(action, skip=skip, then=reached.set)
        told = perform(runtime, Job(act, {}, arguments))
        proxy.on_client_bytes = None
        runtime.close()
        assert told.code == "done", (skip, told)
        assert world.problems() == []
        assert world.cache_problems(fresh=True) == []
        if act == "book":
            assert world.value("SELECT COUNT(*) FROM bookings") == 1
        if act == "process":  # a claim of nobody's is taken over when its lease has run out
            world.end_leases()
            acts.process(world.own)
            assert world.statuses() == {"CONFIRMED": 1}
        if act.startswith("extend"):
            assert world.value("SELECT COUNT(*) FROM booking_events WHERE reason LIKE %s", ("hold extended%",)) in {
                1,
                2,
            }
        if any(told.value[field] != value for field, value in expected.items()):
            wrong.append(f"COMMIT {skip}: said {told.value}")
        if not reached.is_set():
            break
    assert wrong == [], f"happened: {expected}"


@pytest.mark.parametrize("name", ["confirm", "release", "callback SUCCESS"])
def test_control_without_the_operations_id_the_command_disowns_its_work(
    world: World, proxy: TcpProxy, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "done_before", lambda *_: False)
    act, scene, _ = COMMANDS[name]
    world.fill(seats=9)
    arguments = scene(world)
    proxy.on_client_bytes = at_commit(AFTER)
    told = perform(acts.make_runtime(_env(world, proxy)), Job(act, {}, arguments))
    assert told.value["changed"] is False


@BOTH
@pytest.mark.parametrize("name", COMMANDS)
def test_a_server_that_stays_away_leaves_the_outcome_unknown(
    world: World, proxy: TcpProxy, name: str, action: Action
) -> None:
    """The command says so; run again with the same key, it never acts twice."""
    act, scene, _ = COMMANDS[name]
    world.fill(seats=9)
    arguments = scene(world)
    runtime = acts.make_runtime(_env(world, proxy, FLIGHTCTL_DATABASE_RETRY_TIMEOUT="0.3s"))
    runtime.database.read(lambda tx: tx)
    proxy.on_client_bytes = at_commit(action, then=proxy.refuse)
    started = time.monotonic()
    told = perform(runtime, Job(act, {}, arguments))
    assert time.monotonic() - started < 5
    assert told.code == "OUTCOME_UNKNOWN", told
    assert "secret" not in told.message
    if act == "book":
        assert told.value["idempotencyKey"] == "k"
    proxy.on_client_bytes = None
    proxy.pass_through()
    time.sleep(0.1)
    assert world.problems() == []
    # Of a batch the first answers may have come before its end, and the server then rolls it back.
    happened = action is AFTER if act != "book" else world.value("SELECT COUNT(*) FROM bookings") == 1
    again = perform(runtime, Job(act, {}, arguments))
    runtime.close()
    assert world.problems() == []
    if act == "book":
        assert again.value["replayed"] is happened
        assert world.value("SELECT COUNT(*) FROM bookings") == 1
    elif act in {"confirm", "release", "callback", "refund"} and "part" not in name:
        assert again.value["changed"] is not happened
    elif act == "sweep":
        assert again.value["bookings"] == (0 if happened else 3)


def test_a_new_key_for_a_retry_is_what_books_twice(world: World, proxy: TcpProxy) -> None:
    """Control: the key is what makes the retry safe."""
    world.fill(seats=9)
    runtime = acts.make_runtime(_env(world, proxy, FLIGHTCTL_DATABASE_RETRY_TIMEOUT="0s"))
    runtime.database.read(lambda tx: tx)
    proxy.on_client_bytes = at_commit(AFTER)
    assert perform(runtime, Job("book", {}, {"identifier": Z, "key": "one"})).code == "OUTCOME_UNKNOWN"
    assert acts.book(runtime, Z, key="two")["replayed"] is False
    assert world.value("SELECT COUNT(*) FROM bookings") == 2
    runtime.close()


def test_a_server_that_goes_away_again_after_an_unknown_commit(world: World, proxy: TcpProxy) -> None:
    """The second try is told that the booking is there (duplicate key); then nobody answers any more.

    "Nothing was changed" would be a lie.
    """
    world.fill(seats=9)
    runtime = acts.make_runtime(_env(world, proxy, FLIGHTCTL_DATABASE_RETRY_TIMEOUT="0.3s"))
    runtime.database.read(lambda tx: tx)
    batches = [0]

    def hook(data: bytes) -> Action:
        if commits(data):
            batches[0] += 1
            return AFTER if batches[0] == 1 else Action.FORWARD
        if batches[0] == 2 and b"FROM bookings" in data:
            proxy.refuse()
            return BEFORE
        return Action.FORWARD

    proxy.on_client_bytes = hook
    told = perform(runtime, Job("book", {}, {"identifier": Z, "key": "k"}))
    assert batches[0] == 2
    assert world.value("SELECT COUNT(*) FROM bookings") == 1
    assert told.code == "OUTCOME_UNKNOWN", told
    runtime.close()


def test_a_booking_cut_off_while_it_waits_for_the_row(world: World, proxy: TcpProxy) -> None:
    """The server goes on with what it was sent, and commits it later: the retry waits at the unique index for that."""
    world.fill(seats=9)
    runtime = acts.make_runtime(_env(world, proxy))
    runtime.database.read(lambda tx: tx)
    other = mysql_connection(world.backend.database_url)
    other.begin()
    other.cursor().execute("SELECT * FROM flights WHERE flight_id = %s FOR UPDATE", (Z,))
    told: list[Any] = []
    buyer = threading.Thread(target=lambda: told.append(perform(runtime, Job("book", {}, {"identifier": Z}))))
    buyer.start()
    time.sleep(0.6)  # past the wait for the Redis lock: the batch stands at the row
    proxy.cut()
    time.sleep(0.3)
    other.rollback()
    other.close()
    buyer.join(30)
    assert told[0].code == "done", told
    assert told[0].value["replayed"] is False
    assert world.value("SELECT COUNT(*) FROM bookings") == 1
    assert world.problems() == []
    runtime.close()


@BOTH
def test_counter_money_for_a_cancelled_flight_is_not_called_uncharged(
    world: World, proxy: TcpProxy, action: Action
) -> None:
    """confirm commits an end (money due back) and reports an error: also when the COMMIT's answer was lost."""
    world.fill(seats=9)
    booking = _pending(world)["booking"]
    world.execute("UPDATE flights SET status = 'CANCELLED', seat_version = seat_version + 1 WHERE flight_id = %s", (Z,))
    runtime = acts.make_runtime(_env(world, proxy))
    runtime.database.read(lambda tx: tx)
    proxy.on_client_bytes = at_commit(action)
    told = perform(runtime, Job("confirm", {}, {"booking": booking}))
    runtime.close()
    assert world.payment(booking) == "REFUND_DUE"
    assert told.code == "INVALID_FLIGHT", told
    assert "nothing was charged" not in told.message
