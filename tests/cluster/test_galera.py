"""MariaDB Galera: writers on every member, members that die, freeze and come back; never a seat too many."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from flightctl.core import flights, inventory, packed_days
from flightctl.core.database import Database, Operation
from flightctl.core.schema import schedule_state
from flightctl.core.settings import load_settings
from flightctl.core.sql_functions import utc_now
from tests.cluster.support import (
    DATABASE,
    DEPARTURE,
    MOMENTS,
    ROUNDS,
    STORM,
    ClusterWorld,
    buy_without_retry,
    claim_beside_a_change,
    hot_flight,
    lose_a_commit,
    pack_beside_a_cancel,
    storm,
    uses,
)
from tests.clusters import Galera, GaleraNode, wait_until
from tests.concurrency import crew as acts
from tests.concurrency.crew import Crew, Job, codes, perform
from tests.concurrency.support import ZM, ZMA, A, Z, after_first
from tests.concurrency.test_extend import departs_soon, outliving
from tests.concurrency.test_unknown import AFTER, BEFORE
from tests.conftest import Cli
from tests.faults import LOOPBACK, TcpProxy
from tests.servers import Redis


def test_upgrades_on_all_members_at_once_leave_one_schema(galera: Galera, cli: Cli) -> None:
    """GET_LOCK is local to a member; control: test_control_without_waiting_an_upgrade_beside_another_fails."""
    galera.nodes[0].create_database("fresh")
    started = [cli.start("db", "upgrade", "-q", env=_only(galera, number, "fresh")) for number in range(3)]
    for process in started:
        cli.finish(process)
    airports = [execute("SELECT COUNT(*) FROM airports")[0][0] for execute in galera.caught_up("fresh")]
    assert airports[0] > 5000
    assert len(set(airports)) == 1
    galera.nodes[0].drop_database("fresh")


def _only(galera: Galera, number: int, name: str) -> dict[str, str]:
    return {"FLIGHTCTL_DATABASE_URL": galera.nodes[number].url(name)}


def test_a_hot_flight_with_writers_on_all_members_is_sold_to_the_seat(world: ClusterWorld, crew: Crew) -> None:
    """Guards: the conditional UPDATE, certified by the cluster, and the retry of the whole transaction."""
    told = hot_flight(world, crew, seats=30)
    assert codes(told) == {"done": 30, "NO_SEATS_AVAILABLE": 12 * ROUNDS - 30}
    assert world.available(Z) == 0
    assert world.violations_anywhere() == []
    assert sum(outcome.conflicts for outcome in told) > 0, "no two members ever met: the test shows nothing"


def test_the_same_keys_on_all_members_book_once_each(world: ClusterWorld, crew: Crew) -> None:
    world.fill(seats=50)
    for key in "abcd":
        jobs = [Job("book", world.through(number % 3), {"identifier": ZM, "key": key}) for number in range(12)]
        told = crew.run(jobs)
        assert codes(told) == {"done": 12}
        assert len({outcome.value["booking"] for outcome in told}) == 1
        assert sum(not outcome.value["replayed"] for outcome in told) == 1
    assert world.available(Z) == 46
    assert world.violations_anywhere() == []


def test_a_hold_ends_once_whichever_members_end_it(world: ClusterWorld, crew: Crew) -> None:
    """Row locks are local to a member: what decides is the guarded UPDATE and the cluster's certification."""
    for _ in range(3):
        world.fill(seats=9)
        booking = acts.book(world.own, ZM, 2)["booking"]
        world.lapse()
        jobs = [
            Job("confirm", world.through(0), {"booking": booking}),
            Job("release", world.through(1), {"booking": booking}),
            Job("sweep", world.through(2), {}),
            Job("callback", world.through(0), {"booking": booking}),
            Job("callback", world.through(1), {"booking": booking, "status": "FAILURE"}),
            Job("process", world.through(2), {}),
        ]
        told = crew.run(jobs)
        # VALIDATION_ERROR: it is CONFIRMED by now, and release was not told --yes.
        assert set(codes(told)) <= {"done", "INVALID_STATE", "HOLD_EXPIRED", "VALIDATION_ERROR"}, told
        assert world.problems() == []
        assert world.violations_anywhere() == []


def test_no_departure_moves_under_an_extension_on_another_member(
    world: ClusterWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guard: records.touch. Both write the booking's row, which the cluster certifies at COMMIT; the lock that keeps
    the departure in place is local, and is taken away here: it gives way to what another member has committed first,
    but not in the moment before that arrives."""
    monkeypatch.setattr(inventory._DEPARTURES, "_for_update_arg", None)
    booking, local = departs_soon(world)
    world.settle()
    extend, move = world.runtime(**world.through(0)), world.runtime(**world.through(1))
    with after_first(inventory, "departures", lambda: flights.update(move, Z, departure=local)):
        acts.extend(extend, booking, 86400)
    world.settle()
    assert outliving(world) == 0
    assert world.violations_anywhere() == []


@pytest.mark.parametrize("moment", MOMENTS)
def test_no_day_is_packed_over_a_change_on_another_member(
    world: ClusterWorld, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Guard: the claim and the day are one row, which the change deletes and the cluster certifies."""
    assert pack_beside_a_cancel(world, monkeypatch, moment) == {ZM}


def test_a_change_on_another_member_that_has_not_seen_the_claim_is_made_anew(world: ClusterWorld) -> None:
    """Guard: packed_days._claim writes the row of schedule_state, as the change does."""
    assert claim_beside_a_change(world) == {ZM}


def test_a_day_is_read_from_no_member_that_does_not_know_of_its_claim(world: ClusterWorld, galera: Galera) -> None:
    """It would not know of changes before the claim either."""
    world.fill(seats=9)
    world.settle()
    claiming, reading, changing = (world.runtime(**world.through(number)) for number in range(3))
    reading.database.read(lambda tx: tx)
    behind = galera.nodes[1].admin()
    with behind.cursor() as cursor:
        cursor.execute("FLUSH TABLES WITH READ LOCK")  # it applies nothing
        flights.cancel(changing, A, reason=None)
        claiming.database.run(partial(packed_days._claim, DEPARTURE, "mine"))
        read = partial(packed_days._read, DEPARTURE, "mine")
        assert reading.database.read(read) is None
        cursor.execute("UNLOCK TABLES")
    behind.close()
    found = reading.database.read(read, operation=Operation(up_to_date=True))
    assert found is not None
    assert found.flights == 2


def test_control_a_claim_that_conflicts_with_no_change_misses_one(
    world: ClusterWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = update(schedule_state).where(schedule_state.c.id < 0).values(updated_at=utc_now())
    monkeypatch.setattr(packed_days, "_BEHIND_CHANGES", nothing)
    assert claim_beside_a_change(world) == {ZM, ZMA}


def test_what_one_member_has_committed_the_next_one_knows(world: ClusterWorld) -> None:
    """An error that tells of a state is looked at again with synchronised reads before it is told."""
    world.fill(seats=200)
    book, confirm = world.runtime(**world.through(0)), world.runtime(**world.through(2))
    for _ in range(60):
        booking = acts.book(book, ZMA)["booking"]
        assert acts.confirm(confirm, booking)["changed"] is True
    assert world.violations_anywhere() == []


# --- members that cannot be used


def _set(node: GaleraNode, variable: str, value: str) -> None:
    node.execute(f"SET GLOBAL {variable} = {value}")


@pytest.fixture
def first(galera: Galera) -> Iterator[GaleraNode]:
    node = galera.nodes[0]
    yield node
    _set(node, "read_only", "OFF")
    _set(node, "wsrep_reject_queries", "NONE")


@pytest.mark.parametrize(("variable", "value"), [("read_only", "ON"), ("wsrep_reject_queries", "ALL")])
def test_a_member_that_refuses_is_left_for_the_next(
    world: ClusterWorld, first: GaleraNode, variable: str, value: str
) -> None:
    """1290 and 1047, on a connection that was open and on a new one."""
    world.fill(seats=9)
    open_before = world.runtime()
    assert uses(open_before) == first.port
    connection = first.admin()
    with connection.cursor() as cursor:
        cursor.execute(f"SET GLOBAL {variable} = {value}")
    assert acts.book(open_before, Z)["status"] == "PENDING"
    assert acts.book(world.runtime(), Z)["status"] == "PENDING"
    assert uses(open_before) == world.cluster.nodes[1].port
    assert uses(world.runtime()) == world.cluster.nodes[1].port
    assert world.available(Z) == 7
    connection.close()


def test_a_frozen_member_costs_one_bounded_wait(world: ClusterWorld) -> None:
    world.fill(seats=9)
    world.cluster.nodes[0].pause()
    started = time.monotonic()
    runtime = world.runtime()
    assert acts.book(runtime, Z)["status"] == "PENDING"
    assert time.monotonic() - started < 12
    assert uses(runtime) == world.cluster.nodes[1].port


def test_doctor_tells_of_each_member(world: ClusterWorld, first: GaleraNode, cli: Cli) -> None:
    world.cluster.nodes[2].kill()
    _set(first, "read_only", "ON")
    checks = cli("doctor", "-o", "json", env=world.env, check=None).json()["checks"]
    told = {check["name"]: (check["state"], check["detail"]) for check in checks}
    names = [f"server {LOOPBACK}:{node.port}" for node in world.cluster.nodes]
    assert told[names[1]] == ("ok", "it can be used")
    assert told[names[2]] == ("warning", "it does not answer")
    assert told["database"][0] == "ok"


def test_without_quorum_commands_fail_clearly_and_recover_by_themselves(world: ClusterWorld, cli: Cli) -> None:
    world.fill(seats=9)
    daemon = world.runtime(FLIGHTCTL_DATABASE_RETRY_TIMEOUT="1s")
    acts.book(daemon, Z)
    for node in world.cluster.nodes[:2]:
        node.pause()
    wait_until(lambda: world.cluster.nodes[2].status("wsrep_cluster_status") != "Primary", what="quorum lost")
    started = time.monotonic()
    told = perform(daemon, Job("book", {}, {"identifier": Z, "key": "k"}))
    refused = cli("book", Z, "--user", "asha", "-o", "json", env=world.env, check=7)
    assert time.monotonic() - started < 45
    assert told.code in {"DATABASE_UNAVAILABLE", "OUTCOME_UNKNOWN"}, told
    assert refused.error["code"] == "DATABASE_UNAVAILABLE"
    assert "has no quorum" in refused.error["message"]
    assert refused.error["message"].count("does not answer") == 2
    for node in world.cluster.nodes[:2]:
        node.resume()
    world.cluster.settle()
    assert perform(daemon, Job("book", {}, {"identifier": Z, "key": "k"})).code == "done"
    world.disconnect()
    assert world.available(Z) == 7
    assert world.violations_anywhere() == []


# --- a COMMIT without an answer


@pytest.fixture
def proxy(galera: Galera) -> Iterator[TcpProxy]:
    with TcpProxy(LOOPBACK, galera.nodes[0].port) as made:
        yield made


@pytest.mark.parametrize("action", [BEFORE, AFTER], ids=["never arrived", "answer lost"])
@pytest.mark.parametrize("name", ["book", "confirm", "release", "callback SUCCESS", "sweep", "refund by hand"])
def test_a_lost_commit_is_resolved_on_another_member(
    world: ClusterWorld, proxy: TcpProxy, name: str, action: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The member is gone with its answer: another one is asked, with reads that wait for the cluster."""
    lose_a_commit(world, proxy, name, action, monkeypatch)


def test_reads_that_resolve_a_commit_wait_for_the_cluster(world: ClusterWorld) -> None:
    from sqlalchemy import text

    def mask(operation: Operation | None) -> int:
        made = Database(load_settings(environ=world.env))
        value = made.read(lambda tx: tx.execute(text("SELECT @@wsrep_sync_wait")).scalar_one(), operation=operation)
        made.close()
        return int(value)

    assert mask(Operation(commit_unknown=True)) == 7
    assert mask(None) == 0


# --- storms


def test_a_member_is_killed_in_mid_storm_and_rejoins(galera: Galera, private_redis: Redis, tmp_path: Path) -> None:
    world = ClusterWorld(galera, private_redis.url, **STORM)

    def kill_and_restart(node: GaleraNode) -> None:
        node.kill()
        time.sleep(2)
        node.start()

    try:
        storm(world, tmp_path / "logs", kill_and_restart)
    finally:
        world.close()
        galera.heal()


def test_a_member_freezes_in_mid_storm_and_thaws(galera: Galera, tmp_path: Path) -> None:
    """Long enough to be put out of the cluster, whose others go on."""
    world = ClusterWorld(galera, **STORM)

    def freeze(node: GaleraNode) -> None:
        node.pause()
        time.sleep(4)
        node.resume()

    try:
        storm(world, tmp_path / "logs", freeze)
    finally:
        world.close()
        galera.heal()


# --- controls


def test_control_without_the_retry_writers_on_several_members_fail(world: ClusterWorld) -> None:
    """Certification failures are ordinary here; the retry of the whole transaction is what hides them."""
    world.fill(seats=200)
    errors = buy_without_retry(world)
    assert "LOCK_ACQUISITION_FAILED" in errors
    assert world.violations_anywhere() == []


def test_control_a_count_that_is_read_and_written_back_oversells(world: ClusterWorld) -> None:
    """What the conditional UPDATE is for: the same seats read on two members are sold twice."""
    world.fill(seats=9)
    seen = [
        node.execute("SELECT available_seats FROM flights WHERE flight_id = %s", (Z,), DATABASE)[0][0]
        for node in world.cluster.nodes[:2]
    ]
    for node, seats in zip(world.cluster.nodes, seen, strict=False):
        node.execute("UPDATE flights SET available_seats = %s WHERE flight_id = %s", (seats - 1, Z), DATABASE)
    assert world.available(Z) == 8, "two seats were sold, one is gone"


def test_a_bench_with_a_writer_on_each_member_adds_up(galera: Galera, cli: Cli) -> None:
    """Its floors send one statement at a time: in one round trip a member may commit a half of a transaction."""
    options = ("--writers", "3", "--clients", "3", "--seconds", "0.4", "-o", "json")
    found = cli("bench", "book", *options, env={"FLIGHTCTL_DATABASE_URL": galera.url(DATABASE)}, timeout=120).json()
    assert not [row["what"] for row in found["rows"] if "one round trip" in row["what"]]
    assert all(row["perSecond"] > 0 for row in found["rows"])
    assert found["violations"] == []
