"""MySQL Group Replication: writers on every member or on one primary, members that die, freeze, leave and come back.

Skipped where there is no MySQL server; `make mysql` unpacks one beside the system.
"""

from __future__ import annotations

import contextlib
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pymysql
import pytest
from sqlalchemy import update

from flightctl.core import packed_days
from flightctl.core.database import Database, Operation
from flightctl.core.schema import schedule_state
from flightctl.core.settings import load_settings
from flightctl.core.sql_functions import utc_now
from tests.cluster.support import (
    DATABASE,
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
from tests.clusters import wait_until
from tests.concurrency import crew as acts
from tests.concurrency.crew import Crew, Job, codes, perform
from tests.concurrency.support import ZM, ZMA, Z
from tests.concurrency.test_unknown import AFTER, BEFORE
from tests.conftest import Cli, _upgrade
from tests.faults import LOOPBACK, TcpProxy
from tests.groups import GroupNode, GroupReplication
from tests.servers import ServerMissing

SILENT = "UNREACHABLE"


@pytest.fixture(scope="module")
def group() -> Iterator[GroupReplication]:
    """Three members that all write; a test that harms them has them healed before the next."""
    with tempfile.TemporaryDirectory(prefix="flightctl-group-") as folder:
        try:
            made = GroupReplication(Path(folder) / "group")
        except ServerMissing as missing:
            pytest.skip(str(missing))
        try:
            made.start()
            made.nodes[0].create_database(DATABASE)
            _upgrade(made.url(DATABASE))
            yield made
        finally:
            made.discard()


@pytest.fixture
def world(group: GroupReplication) -> Iterator[ClusterWorld]:
    made = ClusterWorld(group)
    yield made
    made.close()
    group.heal()


@pytest.fixture
def first(group: GroupReplication) -> GroupNode:
    return group.nodes[0]


@contextlib.contextmanager
def _with(group: GroupReplication, variable: str, value: int, normal: int) -> Iterator[None]:
    """A setting of all members for a while."""
    for node in group.nodes:
        node.execute(f"SET GLOBAL {variable} = {value}")
    try:
        yield
    finally:
        group.heal()
        for node in group.nodes:
            node.execute(f"SET GLOBAL {variable} = {normal}")


def _silent(node: GroupNode) -> int:
    """Members that it does not hear."""
    return [state for state, _ in node.members().values()].count(SILENT)


def _upgrades(group: GroupReplication, cli: Cli, name: str) -> None:
    """One on each member, at once."""
    group.nodes[0].create_database(name)
    started = [cli.start("db", "upgrade", "-q", env={"FLIGHTCTL_DATABASE_URL": node.url(name)}) for node in group.nodes]
    for process in started:
        cli.finish(process)


def test_upgrades_on_all_members_at_once_take_turns(group: GroupReplication, cli: Cli) -> None:
    """Guard: the certified row of ``migrate_turn``; control: the last test."""
    _upgrades(group, cli, "fresh")
    airports = [execute("SELECT COUNT(*) FROM airports")[0][0] for execute in group.caught_up("fresh")]
    assert airports[0] > 5000
    assert len(set(airports)) == 1
    assert group.whole()
    group.nodes[0].drop_database("fresh")


# --- writers on all members


def test_a_hot_flight_with_writers_on_all_members_is_sold_to_the_seat(world: ClusterWorld, crew: Crew) -> None:
    """Guards: the conditional UPDATE, certified by the group, and the retry of the whole transaction."""
    told = hot_flight(world, crew, seats=30)
    assert codes(told) == {"done": 30, "NO_SEATS_AVAILABLE": 12 * ROUNDS - 30}
    assert world.available(Z) == 0
    assert world.violations_anywhere() == []
    assert sum(outcome.conflicts for outcome in told) > 0, "no two members ever met: the test shows nothing"


def test_control_without_the_retry_writers_on_several_members_fail(world: ClusterWorld) -> None:
    world.fill(seats=200)
    assert "LOCK_ACQUISITION_FAILED" in buy_without_retry(world)
    assert world.violations_anywhere() == []


def test_control_a_count_that_is_read_and_written_back_oversells(world: ClusterWorld) -> None:
    """What the conditional UPDATE is for: the same seats read on two members are sold twice."""
    world.fill(seats=9)
    nodes = world.cluster.nodes[:2]
    seen = [
        execute("SELECT available_seats FROM flights WHERE flight_id = %s", (Z,))[0][0]
        for execute in world.cluster.caught_up(DATABASE)
    ]
    for node, seats in zip(nodes, seen, strict=False):
        node.execute("UPDATE flights SET available_seats = %s WHERE flight_id = %s", (seats - 1, Z), DATABASE)
    assert world.available(Z) == 8, "two seats were sold, one is gone"


def test_a_hold_ends_once_whichever_members_end_it(world: ClusterWorld, crew: Crew) -> None:
    """Row locks are local to a member: what decides is the guarded UPDATE and the group's certification."""
    world.fill(seats=9)
    booking = acts.book(world.own, ZM, 2)["booking"]
    world.lapse()
    jobs = [
        Job("confirm", world.through(0), {"booking": booking}),
        Job("release", world.through(1), {"booking": booking}),
        Job("sweep", world.through(2), {}),
        Job("callback", world.through(0), {"booking": booking}),
        Job("callback", world.through(1), {"booking": booking, "status": "FAILURE"}),
    ]
    told = crew.run(jobs)
    # VALIDATION_ERROR: it is CONFIRMED by now, and release was not told --yes.
    assert set(codes(told)) <= {"done", "INVALID_STATE", "HOLD_EXPIRED", "VALIDATION_ERROR"}, told
    assert world.problems() == []
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
    for _ in range(30):
        booking = acts.book(book, ZM)["booking"]
        assert acts.confirm(confirm, booking)["changed"] is True


# --- members that cannot be used


def _leave(node: GroupNode) -> None:
    node.execute("STOP GROUP_REPLICATION")


def _go_offline(node: GroupNode) -> None:
    """What a group does to a member that had to leave and did not come back."""
    _leave(node)
    node.execute("SET GLOBAL offline_mode = ON")


@pytest.mark.parametrize("end", [_leave, _go_offline], ids=["read-only", "offline"])
def test_a_member_that_has_left_is_left_for_the_next(world: ClusterWorld, first: GroupNode, end: Any) -> None:
    """1290, 6400 and lost connections, on a connection that was open and on a new one."""
    world.fill(seats=9)
    open_before = world.runtime()
    assert uses(open_before) == first.port
    end(first)
    assert acts.book(open_before, Z)["status"] == "PENDING"
    assert acts.book(world.runtime(), Z)["status"] == "PENDING"
    assert uses(open_before) == world.cluster.nodes[1].port
    assert world.available(Z) == 7


def test_doctor_tells_of_each_member(world: ClusterWorld, first: GroupNode, cli: Cli) -> None:
    """Also that an account cannot see whether a member has quorum."""
    second = world.cluster.nodes[1]
    second.execute(f"CREATE USER ops@'{LOOPBACK}' IDENTIFIED BY 'secret'")
    second.execute(f"GRANT ALL ON {DATABASE}.* TO ops@'{LOOPBACK}'")
    _leave(first)

    def told(env: dict[str, str]) -> dict[str, tuple[str, str, str]]:
        checks = cli("doctor", "-o", "json", env=env, check=None).json()["checks"]
        return {check["name"]: (check["state"], check["detail"], str(check["hint"])) for check in checks}

    names = [f"server {LOOPBACK}:{node.port}" for node in world.cluster.nodes]
    checks = told(world.env)
    assert checks["database"][0] == "ok"
    assert checks[names[0]][:2] == ("warning", "it is not ready (OFFLINE)")
    assert checks[names[1]][:2] == ("ok", "it can be used")
    url = world.env["FLIGHTCTL_DATABASE_URL"].replace("flightctl:", "ops:")
    checks = told({**world.env, "FLIGHTCTL_DATABASE_URL": url})
    assert checks["database"][0] == "ok"
    assert "may not see" in checks[names[1]][1]
    assert "replication_group_members" in checks[names[1]][2]


def test_without_quorum_commands_fail_clearly_and_recover_by_themselves(world: ClusterWorld, cli: Cli) -> None:
    world.fill(seats=9)
    first, *others = world.cluster.nodes
    daemon = world.runtime(FLIGHTCTL_DATABASE_RETRY_TIMEOUT="1s", FLIGHTCTL_DATABASE_ANSWER_TIMEOUT="4s")
    acts.book(daemon, Z)
    for node in others:
        node.pause()
    started = time.monotonic()
    told = perform(daemon, Job("book", {}, {"identifier": Z, "key": "k"}))
    wait_until(lambda: _silent(first) == 2, what="quorum lost")
    refused = cli("book", Z, "--user", "asha", "-o", "json", env=world.env, check=7)
    assert time.monotonic() - started < 30
    assert told.code == "OUTCOME_UNKNOWN", told  # the member keeps it, and makes it when the others are back
    assert refused.error["code"] == "DATABASE_UNAVAILABLE"
    assert "has no quorum" in refused.error["message"]
    assert refused.error["message"].count("does not answer") == 2
    for node in others:
        node.resume()
    world.cluster.settle()
    again = perform(daemon, Job("book", {}, {"identifier": Z, "key": "k"}))
    assert again.code == "done"
    world.disconnect()
    assert world.available(Z) == 7
    assert world.violations_anywhere() == []


# --- a COMMIT whose outcome is unknown


@pytest.fixture
def proxy(first: GroupNode) -> Iterator[TcpProxy]:
    with TcpProxy(LOOPBACK, first.port) as made:
        yield made


@pytest.mark.parametrize("action", [BEFORE, AFTER], ids=["never arrived", "answer lost"])
@pytest.mark.parametrize("name", ["book", "confirm", "callback SUCCESS", "sweep"])
def test_a_lost_commit_is_resolved_on_another_member(
    world: ClusterWorld, proxy: TcpProxy, name: str, action: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The member is gone with its answer: another one is asked, with reads that wait for the group."""
    lose_a_commit(world, proxy, name, action, monkeypatch)


def test_reads_that_resolve_a_commit_wait_for_the_group(world: ClusterWorld) -> None:
    from sqlalchemy import text

    def consistency(operation: Operation | None) -> str:
        made = Database(load_settings(environ=world.env))
        question = text("SELECT @@group_replication_consistency")
        value = made.read(lambda tx: tx.execute(question).scalar_one(), operation=operation)
        made.close()
        return str(value)

    assert consistency(Operation(commit_unknown=True)) == "BEFORE"
    assert consistency(None) != "BEFORE"


def test_a_commit_that_its_member_gave_up_and_the_others_made(world: ClusterWorld, first: GroupNode) -> None:
    """3100 at COMMIT: the member was cut off while it waited for the others, and they go on with what it had sent.

    Control: a plain client that takes the error at its word is wrong.
    """
    world.fill(seats=9)
    others = world.cluster.nodes[1:]
    runtime, plain = world.runtime(FLIGHTCTL_DATABASE_RETRY_TIMEOUT="30s"), first.admin()
    runtime.database.read(lambda tx: tx)
    told: list[Any] = []

    def give_up() -> None:
        with pytest.raises(Exception, match="before_commit") as caught, plain.cursor() as cursor:
            cursor.execute(f"UPDATE {DATABASE}.flights SET price = 77 WHERE flight_id = %s", (ZM.split("_")[4],))
        told.append(caught.value.args[0])

    with _with(world.cluster, "group_replication_unreachable_majority_timeout", 1, 0):
        for node in others:
            node.pause()
        clients = [
            threading.Thread(target=give_up),
            threading.Thread(
                target=lambda: told.append(perform(runtime, Job("book", {}, {"identifier": Z, "key": "k"})))
            ),
        ]
        for client in clients:
            client.start()
        clients[0].join(20)
        assert told[0] == 3100
        for node in others:
            node.resume()
        clients[1].join(40)
        assert told[1].code == "done", told
        assert told[1].value["replayed"] is False
        assert uses(runtime) != first.port
        [(price,)] = world.execute("SELECT price FROM flights WHERE flight_id = %s", (ZM.split("_")[4],))
        assert price == 77, "what the member called an error has happened"
        assert world.available(Z) == 8
    assert world.violations_anywhere() == []


# --- storms


def test_a_member_is_killed_in_mid_storm_and_rejoins(group: GroupReplication, tmp_path: Path) -> None:
    world = ClusterWorld(group, **STORM)

    def kill_and_restart(node: GroupNode) -> None:
        node.kill()
        time.sleep(1)
        node.start()

    try:
        with _with(group, "group_replication_member_expel_timeout", 0, 5):
            storm(world, tmp_path / "logs", kill_and_restart, seconds=6)
    finally:
        world.close()
        group.heal()


def test_a_member_freezes_in_mid_storm_is_put_out_and_rejoins(group: GroupReplication, tmp_path: Path) -> None:
    world = ClusterWorld(group, **STORM)

    def freeze(node: GroupNode) -> None:
        node.pause()
        wait_until(lambda: len(group.nodes[1].members()) == 2, what="the frozen member is out")
        node.resume()

    try:
        with _with(group, "group_replication_member_expel_timeout", 0, 5):
            storm(world, tmp_path / "logs", freeze, seconds=8)
    finally:
        world.close()
        group.heal()


# --- one primary


@pytest.fixture
def single(group: GroupReplication) -> Iterator[GroupReplication]:
    """The second member writes, the others are read-only."""
    group.switch_to_single_primary(group.nodes[1])
    yield group
    group.heal()
    group.switch_to_multi_primary()


def test_writers_follow_the_primary(single: GroupReplication) -> None:
    """The primary hands over in mid-work, then its successor is killed; whoever names a secondary first books, too."""
    world = ClusterWorld(single)
    world.fill(seats=200)
    stop, told = threading.Event(), list[acts.Outcome]()

    def buy(number: int) -> None:
        runtime = world.runtime(**world.through(number))
        while not stop.is_set():
            told.append(perform(runtime, Job("book", {}, {"identifier": Z})))
            time.sleep(0.05)

    def goes_on(where: str) -> None:
        booked = len(told)
        wait_until(lambda: len(told) > booked + 10, what=f"bookings on {where}")

    buyers = [threading.Thread(target=buy, args=(number,)) for number in range(3)]
    for buyer in buyers:
        buyer.start()
    try:
        with _with(single, "group_replication_member_expel_timeout", 0, 5):
            goes_on("the first primary")
            single.hand_over(single.nodes[0])
            goes_on("the second primary")
            assert single.primary() is single.nodes[0]
            single.nodes[0].kill()
            late = perform(world.runtime(**world.through(1)), Job("book", {}, {"identifier": Z}))
            assert late.code == "done", f"a new command waits for the election: {late}"
            told.append(late)
            goes_on("the third primary")
    finally:
        stop.set()
        for buyer in buyers:
            buyer.join(60)
        world.disconnect()
    assert set(codes(told)) <= {"done", "NO_SEATS_AVAILABLE"}, codes(told)
    assert 200 - world.available(Z) == codes(told)["done"] == world.statuses()["PENDING"]
    assert world.violations_anywhere() == []
    world.close()


def test_control_tables_made_on_several_members_at_once_end_the_group(group: GroupReplication) -> None:
    """What turns are for. The last test: nobody brings the members together again."""
    group.nodes[0].create_database("broken")
    together = threading.Barrier(len(group.nodes))

    def make_tables(node: GroupNode) -> None:
        for number in range(20):
            together.wait(30)
            with contextlib.suppress(pymysql.MySQLError):  # there already, or read-only by now
                node.execute(f"CREATE TABLE broken.t{number} (id INT PRIMARY KEY)")

    threads = [threading.Thread(target=make_tables, args=(node,)) for node in group.nodes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_until(lambda: any(node.own[0] == "ERROR" for node in group.nodes), what="a member had to leave")
