"""What the tests of several clusters share: a world on all members, a storm over them, writers on each."""

from __future__ import annotations

import threading
import time
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from flightctl.core import database, database_tries, flights, packed_days, schedule
from flightctl.core.loading import Loaded, load
from flightctl.core.schema import flights as flights_table
from tests.checker import violations
from tests.clusters import Galera
from tests.concurrency import crew as acts
from tests.concurrency.crew import Crew, Job, make_runtime, perform
from tests.concurrency.support import ZM, ZMA, A, World, Z, recover
from tests.concurrency.test_storm import SPARE, Storm, _agree
from tests.concurrency.test_unknown import COMMANDS, at_commit
from tests.conftest import Backend
from tests.faults import TcpProxy
from tests.groups import GroupReplication

DATABASE = "cluster"
DEPARTURE = date(2099, 12, 1)
"""Of the flights of ``World.fill``."""
MOMENTS = ("_claim", "_read", "_store")
"""Of the packing of a day."""
ROUNDS = 4  # attempts of each of the twelve writers


class ClusterWorld(World):
    """Looked at through one member and used through all of them."""

    def __init__(self, cluster: Galera | GroupReplication, redis_url: str = "", **variables: str) -> None:
        self.cluster = cluster
        self.looks_at = 1  # the member that plain SQL goes to; tests harm the first
        super().__init__(Backend("mysql+redis" if redis_url else "mysql", self.node_url(1), redis_url))
        self.env |= {
            "FLIGHTCTL_DATABASE_URL": cluster.url(DATABASE),
            # Above what a cluster needs to do without a member that is silent (5 s).
            "FLIGHTCTL_DATABASE_ANSWER_TIMEOUT": "12s",
            "FLIGHTCTL_DATABASE_RETRY_TIMEOUT": "20s",
            **variables,
        }

    def node_url(self, number: int) -> str:
        return self.cluster.nodes[number].url(DATABASE)

    def through(self, first: int) -> dict[str, str]:
        """The environment of somebody who prefers that member."""
        return {**self.env, "FLIGHTCTL_DATABASE_URL": self.cluster.url(DATABASE, first)}

    def execute(self, sql, params=()):  # type: ignore[no-untyped-def]
        if self._connection is None:
            super().execute(self.cluster.wait)
        return super().execute(sql, params)

    def settle(self) -> None:
        """Until every member knows what any has committed."""
        for execute in self.cluster.caught_up(DATABASE):
            execute("SELECT 1")

    def violations_anywhere(self) -> list[str]:
        """What the independent checker finds on any member, and where members differ."""
        found = []
        for number, execute in enumerate(self.cluster.caught_up(DATABASE), 1):
            found += [f"member {number}: {line}" for line in violations(execute)]
        return found


def hot_flight(world: ClusterWorld, crew: Crew, seats: int) -> list[acts.Outcome]:
    world.fill(seats=seats)
    told = []
    for round_ in range(ROUNDS):
        jobs = [
            Job("book", world.through(number % 3), {"identifier": Z, "key": f"{round_}-{number}"})
            for number in range(12)
        ]
        told += crew.run(jobs)
    return told


def uses(runtime: Any) -> int:
    """The port of the member that the runtime's next statement goes to."""
    from sqlalchemy import text

    return int(runtime.database.read(lambda tx: tx.execute(text("SELECT @@port")).scalar_one()))


def behind(world: ClusterWorld, proxy: TcpProxy) -> dict[str, str]:
    port = f":{world.cluster.nodes[0].port},"
    return {**world.env, "FLIGHTCTL_DATABASE_URL": world.cluster.url(DATABASE).replace(port, f":{proxy.port},")}


def buy_without_retry(world: ClusterWorld) -> list[str]:
    """What three buyers are told, each on a member of its own, when nothing is tried again."""
    errors: list[str] = []

    def buy(number: int) -> None:
        runtime = make_runtime(world.through(number))
        for _ in range(25):
            errors.append(perform(runtime, Job("book", {}, {"identifier": Z})).code)
        runtime.close()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database_tries, "CONFLICT_ATTEMPTS", 1)
        threads = [threading.Thread(target=buy, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return errors


def lose_a_commit(world: ClusterWorld, proxy: TcpProxy, name: str, action: Any, patch: pytest.MonkeyPatch) -> None:
    """The first member goes away with the answer to a COMMIT: the next must tell what became of it."""
    act, scene, expected = COMMANDS[name]
    world.fill(seats=9)
    arguments = scene(world)
    runtime = make_runtime(behind(world, proxy))
    runtime.database.read(lambda tx: tx)
    waits = []
    original = database._wait_for_cluster
    patch.setattr(database, "_wait_for_cluster", lambda connection: waits.append(original(connection)))
    proxy.on_client_bytes = at_commit(action, then=proxy.refuse)
    told = perform(runtime, Job(act, {}, arguments))
    assert uses(runtime) == world.cluster.nodes[1].port
    runtime.close()
    assert told.code == "done", told
    assert {field: told.value[field] for field in expected} == expected
    assert waits, "it did not wait for what the cluster had committed"
    assert world.problems() == []


def pack_beside_a_cancel(world: ClusterWorld, patch: pytest.MonkeyPatch, moment: str) -> set[str]:
    """A day is packed on one member while a flight of it is cancelled on another: after the claim, after the reading, or
    before the commit of what was packed. What the packed days lead to."""
    world.fill(seats=9)
    world.settle()
    packing, change = world.runtime(**world.through(0)), world.runtime(**world.through(1))
    original, left = getattr(packed_days, moment), [1]

    def interrupted(*args: Any) -> Any:
        result = original(*args)
        if left and DEPARTURE in (args[0], getattr(args[0], "day", None)):
            left.clear()
            flights.cancel(change, A, reason=None)
        return result

    patch.setattr(packed_days, moment, interrupted)
    packed_days.pack_days(packing, date=f"{DEPARTURE}", days=1)
    assert not left
    return _packed_journeys(world)


def claim_beside_a_change(world: ClusterWorld) -> set[str]:
    """A change on one member has looked for packed days, then the day is claimed and read on another, then the change
    commits, then what was read is kept; what the packed days lead to."""
    world.fill(seats=9)
    world.settle()
    packing, change = world.runtime(**world.through(0)), world.runtime(**world.through(1))
    read: list[Any] = []

    def work(tx: Any) -> None:
        schedule.raise_version(tx, [A])
        tx.change(update(flights_table).where(flights_table.c.flight_id == A).values(status="CANCELLED"))
        if not read:
            packing.database.run(partial(packed_days._claim, DEPARTURE, "mine"))
            read.append(packing.database.read(partial(packed_days._read, DEPARTURE, "mine")))

    for number in (-1, 1, 2, 3):
        packed_days._pack(packing, DEPARTURE + timedelta(days=number))
    change.database.run(work)
    world.settle()
    if not packing.database.run(partial(packed_days._store, read[0], "mine", False)):
        packed_days._pack(packing, DEPARTURE)
    return _packed_journeys(world)


def _packed_journeys(world: ClusterWorld) -> set[str]:
    """Those that packed days lead to, on any member."""
    world.settle()
    found = set()
    for number in range(3):
        reader = world.runtime(**world.through(number))
        for journey in (ZM, ZMA):
            if len(reader.database.read(partial(_load, journey)).timetable):
                found.add(journey)
    return found


def _load(journey: str, tx: Any) -> Loaded:
    _, source, destination, *_ = journey.split("_")
    bounds = {"min_connection": 3600 * 10**6, "max_connection": 6 * 3600 * 10**6}
    loaded = load(tx, source, destination, DEPARTURE, **bounds, packed=True)
    assert loaded.packed
    return loaded


class ClusterStorm(Storm):
    """Each client prefers another member."""

    world: ClusterWorld

    def _start(self) -> Any:
        whole, self.world.env = self.world.env, self.world.through(self.started % 3)
        try:
            return super()._start()
        finally:
            self.world.env = whole


def storm(world: ClusterWorld, folder: Path, harm: Any, seconds: float = 12.0) -> None:
    """Nine clients on three members; in the middle something happens to the first member."""
    world.fill(seats=30)
    for flight in SPARE:
        world.execute(
            "INSERT INTO flights (flight_id, source, destination, departure_time, arrival_time, departure_date, "
            "total_seats, available_seats, seat_version, price, status) SELECT %s, source, destination, "
            "departure_time, arrival_time, departure_date, 6, 6, seat_version, price, status FROM flights "
            "WHERE flight_id = %s",
            (flight, Z),
        )
    folder.mkdir()
    clients = ClusterStorm(world, folder, 9, seconds)
    time.sleep(seconds / 4)
    harm(world.cluster.nodes[0])
    clients.finish()
    world.cluster.heal()
    world.disconnect()
    recover(world, world.own)
    world.lapse()
    recover(world, world.own)
    assert world.problems(settled=True) == []
    assert world.violations_anywhere() == []
    diary = clients.diary()
    assert _agree(world, diary) == []
    done = [act for act in diary if act["code"] == "done"]
    assert len(done) >= 10, f"only {len(done)} of {len(diary)} acts were done"


STORM = {
    "FLIGHTCTL_BOOKING_HOLD": "1s",
    "FLIGHTCTL_PAYMENTS_LEASE": "2s",
    "FLIGHTCTL_GATEWAY_SUCCESS": "0.7",
    "FLIGHTCTL_GATEWAY_FAILURE": "0.3",
}
