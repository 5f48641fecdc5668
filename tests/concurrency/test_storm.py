"""Everything at once: many clients of few flights, killed at random, with servers that die and come back.

Afterwards cron and the daemon tidy up, every invariant holds, and what each client was told agrees with the database.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.concurrency.crew import Job, make_runtime, perform
from tests.concurrency.support import ZM, ZMA, World, Z, recover
from tests.conftest import Backend, _upgrade
from tests.servers import MariaDB, Redis

SPARE = [f"XX{number}-20991201" for number in range(6)]  # flights to be cancelled
SEATS = 30
# Nothing was done and nothing is held: no booking may have that key, unless another try of it got through.
REFUSED = {"NO_SEATS_AVAILABLE", "INVALID_FLIGHT", "DATABASE_UNAVAILABLE", "LOCK_ACQUISITION_FAILED"}


def client(env: dict[str, str], number: int, log: str, until: float) -> None:
    """One agent, cron job or daemon: does something at random and writes down what it was told."""
    dice = random.Random(number)
    runtime = make_runtime(env)
    with open(log, "a", buffering=1) as book:
        step = 0
        while time.time() < until:
            step += 1
            job = _choose(dice, runtime, number, step)
            if job is None:
                continue
            name = f"{number}.{step}"
            book.write(json.dumps({"id": name, "act": job.act, "asked": job.arguments}) + "\n")
            told = perform(runtime, job)
            book.write(json.dumps({"id": name, "code": told.code, "told": told.value, "message": told.message}) + "\n")
    runtime.close()


def _choose(dice: random.Random, runtime: Any, number: int, step: int) -> Job | None:
    act = dice.choices(
        ["book", "replay", "confirm", "release", "callback", "sweep", "process", "cancel_flight"],
        weights=[30, 10, 10, 20, 20, 5, 5, 0.5],
    )[0]
    if act in {"book", "replay"}:
        identifier = dice.choice([Z, ZM, ZMA, *SPARE[:2]])
        key = f"{number}-{step}"
        if act == "replay":  # one of a few keys that everybody uses, always for the same request
            shared = dice.randrange(20)
            key, identifier = f"shared-{shared}", [Z, ZM, ZMA][shared % 3]
        seats = 1 + (len(key) + step) % 2 if act == "book" else 1
        return Job("book", {}, {"identifier": identifier, "seats": seats, "key": key})
    if act == "sweep":
        return Job("sweep", {}, {"batch_size": dice.choice([1, 5, 500])})
    if act == "process":
        return Job("process", {}, {"everything": False})
    if act == "cancel_flight":
        return Job("cancel_flight", {}, {"flight": dice.choice(SPARE)})
    booking = _any_booking(runtime, dice)
    if booking is None:
        return None
    if act == "release":
        return Job("release", {}, {"booking": booking, "yes": dice.random() < 0.8})
    if act == "callback":
        payment = dice.choice([None, None, None, f"bank-{booking}"])
        return Job(
            "callback", {}, {"booking": booking, "status": dice.choice(["SUCCESS", "FAILURE"]), "payment": payment}
        )
    return Job("confirm", {}, {"booking": booking})


def _any_booking(runtime: Any, dice: random.Random) -> str | None:
    from sqlalchemy import text

    from flightctl.core.errors import FlightctlError

    try:  # mostly a recent one, so that several are after it
        rows = runtime.database.read(
            lambda tx: tx.execute(text("SELECT booking_id FROM bookings ORDER BY created_at DESC LIMIT 60")).all()
        )
    except FlightctlError:
        time.sleep(0.05)
        return None
    return str(rows[min(int(dice.expovariate(0.15)), len(rows) - 1)][0]) if rows else None


class Storm:
    """Clients, and what happens to them."""

    def __init__(self, world: World, folder: Path, size: int, seconds: float) -> None:
        self.world, self.folder, self.seconds = world, folder, seconds
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(["tests.concurrency.crew", "tests.concurrency.preload"])
        self.until = time.time() + seconds
        self.started = 0
        self.clients = [self._start() for _ in range(size)]
        self.killed = 0

    def _start(self) -> Any:
        self.started += 1
        log = str(self.folder / f"{self.started}.log")
        process = self.context.Process(target=client, args=(self.world.env, self.started, log, self.until), daemon=True)
        process.start()
        return process

    def kill_one(self) -> None:
        number = random.randrange(len(self.clients))
        self.clients[number].kill()
        self.killed += 1
        self.clients[number] = self._start()

    def finish(self) -> None:
        for process in self.clients:
            process.join(60)
            assert process.exitcode == 0, f"a client ended with {process.exitcode}"

    def diary(self) -> list[dict[str, Any]]:
        """Every act with what was told of it; "code" is None for one whose client was killed over it."""
        acts: dict[str, dict[str, Any]] = {}
        for log in self.folder.glob("*.log"):
            for line in log.read_text().splitlines():
                try:
                    entry = json.loads(line)
                except ValueError:
                    continue  # killed while writing
                acts.setdefault(entry["id"], {"code": None, "told": None}).update(entry)
        return [act for act in acts.values() if "act" in act]


@pytest.fixture
def stage(private_mariadb: MariaDB, private_redis: Redis) -> Iterator[World]:
    private_mariadb.create_database("storm")
    _upgrade(private_mariadb.url("storm"))
    world = World(
        Backend("mysql+redis", private_mariadb.url("storm"), private_redis.url),
        FLIGHTCTL_REDIS_PAUSE="0.5s",
        FLIGHTCTL_BOOKING_HOLD="1s",
        FLIGHTCTL_PAYMENTS_LEASE="2s",
        FLIGHTCTL_GATEWAY_SUCCESS="0.7",
        FLIGHTCTL_GATEWAY_FAILURE="0.3",
        FLIGHTCTL_DATABASE_RETRY_TIMEOUT="6s",
    ).fill(seats=SEATS)
    for flight in SPARE:
        world.execute(
            "INSERT INTO flights (flight_id, source, destination, departure_time, arrival_time, departure_date, "
            "total_seats, available_seats, seat_version, price, status) SELECT %s, source, destination, "
            "departure_time, arrival_time, departure_date, 6, 6, seat_version, price, status FROM flights "
            "WHERE flight_id = %s",
            (flight, Z),
        )
    yield world
    world.close()


def _weather(storm: Storm, database: MariaDB, cache: Redis, *, restarts: int) -> None:
    """Kills clients all the time, Redis and the database now and then."""
    random.seed(7)
    pause = storm.seconds / (2 * restarts + 1)
    for _ in range(restarts):
        for server in cache, database:
            deadline = time.time() + pause
            while time.time() < deadline:
                time.sleep(0.3)
                storm.kill_one()
            server.kill()
            time.sleep(0.5)
            server.start()


def _agree(world: World, diary: list[dict[str, Any]]) -> list[str]:
    """Where what clients were told and what the database says differ."""
    wrong = []
    rows = world.execute("SELECT booking_id, idempotency_key, status FROM bookings")
    by_key = {key: booking for booking, key, _ in rows}
    status = {booking: state for booking, _, state in rows}
    ever = defaultdict(set)
    for booking, state in world.execute("SELECT booking_id, to_status FROM booking_events"):
        ever[booking].add(state)
    tries = defaultdict(list)
    changed: Counter[tuple[str, str]] = Counter()
    for act in diary:
        if str(act["code"]).startswith("BUG"):
            wrong.append(f"a defect: {act}")
        told = act["told"] or {}
        if act["act"] == "book":
            tries[act["asked"]["key"]].append(act)
        elif act["code"] == "done" and "booking" in act["asked"]:
            booking = act["asked"]["booking"]
            if told["status"] not in ever[booking]:
                wrong.append(f"{booking} was never {told['status']}: {act}")
            if act["act"] in {"confirm", "release"} and told["changed"]:
                changed[act["act"], booking] += 1
    wrong += [f"{act} of {booking} changed it {times} times" for (act, booking), times in changed.items() if times > 1]
    may_cancel = {act["asked"]["booking"] for act in diary if act["act"] == "release"}
    lost_flights = {act["asked"]["flight"] for act in diary if act["act"] == "cancel_flight"}
    for booking, flight in world.execute("SELECT booking_id, flight_id FROM booking_flights"):
        if flight in lost_flights:
            may_cancel.add(booking)
    for booking, state in status.items():
        if state == "CANCELLED" and booking not in may_cancel:
            wrong.append(f"nobody asked to cancel {booking}")
        if "CONFIRMED" in ever[booking] and state not in {"CONFIRMED", "CANCELLED"}:
            wrong.append(f"{booking} was CONFIRMED and is {state}")
    for key, attempts in tries.items():
        done = {act["told"]["booking"] for act in attempts if act["code"] == "done"}
        if len(done) > 1 or (done and by_key.get(key) not in done):
            wrong.append(f"key {key}: told {done}, there is {by_key.get(key)}")
        if all(act["code"] in REFUSED for act in attempts) and key in by_key:
            wrong.append(f"key {key} was refused and made {by_key[key]}: {attempts}")
    return wrong


def _play(stage: World, folder: Path, database: MariaDB, cache: Redis, size: int, seconds: float, restarts: int) -> str:
    storm = Storm(stage, folder, size, seconds)
    _weather(storm, database, cache, restarts=restarts)
    storm.finish()
    stage.disconnect()
    recover(stage, stage.own)
    stage.lapse()
    recover(stage, stage.own)
    assert stage.problems(settled=True) == []
    diary = storm.diary()
    assert _agree(stage, diary) == []
    told = Counter(f"{act['act']} {act['code']}" for act in diary)
    assert told["book done"] > 10, told
    assert told["confirm done"] + told["callback done"] > 10
    return f"{len(diary)} acts by {storm.started} clients, {storm.killed} of them killed: {dict(sorted(told.items()))}"


def test_a_short_storm(
    stage: World, private_mariadb: MariaDB, private_redis: Redis, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    report = _play(stage, folder, private_mariadb, private_redis, 12, 8.0, 1)
    print(report)


@pytest.mark.soak
def test_a_long_storm(
    stage: World, private_mariadb: MariaDB, private_redis: Redis, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    report = _play(stage, folder, private_mariadb, private_redis, 32, float(os.environ.get("STORM", "60")), 4)
    with capsys.disabled():
        print(f"\n  {report}")
