"""Audits while sales go on: nothing that is merely in motion is taken for damage, and no repair gets in its way."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Set
from contextlib import contextmanager

import pytest
from sqlalchemy import text

from flightctl.core import audit as audit_module
from flightctl.core import audit_repair, cancellation, inventory, payments, settlement, sweeper
from flightctl.core.audit import audit
from flightctl.core.audit_checks import on_cancelled_flights
from flightctl.core.booking import book
from flightctl.core.database import Transaction
from flightctl.core.errors import FlightctlError
from flightctl.core.model.bookings import BookRequest
from flightctl.core.model.operations import Violation
from flightctl.core.model.payments import CallbackRequest
from flightctl.core.model.states import CallbackStatus
from flightctl.core.runtime import Runtime
from tests.builders import TWO_LEGS, World
from tests.conftest import Cli

REDIS = pytest.mark.parametrize("backend", ["mysql+redis"], indirect=True)
SECONDS = 3.0
TAKE_ONE_TOO_MANY = (
    "UPDATE flights SET available_seats = available_seats - 1, seat_version = seat_version + 1"
    " WHERE flight_id = 'F1' AND available_seats > 0"
)


class Sales:
    """Agents that book, confirm, release, let lapse and pay, each with connections of its own."""

    def __init__(self, world: World, agents: int, bears: Set[str]) -> None:
        self.world = world
        self.bears = {"NO_SEATS_AVAILABLE"} | bears
        self.stop = threading.Event()
        self.strange: list[str] = []
        self.done = 0
        self.last: dict[str, str] = {}
        """The state that each booking was last told to be in, as its only agent knows."""
        self._threads = [threading.Thread(target=self._sell, args=(seed,)) for seed in range(agents)]

    def __enter__(self) -> Sales:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        for thread in self._threads:
            thread.join(30)
        assert self.strange == []

    def _sell(self, seed: int) -> None:
        dice = random.Random(seed)
        runtime = self.world.another(f"agent {seed}")
        while not self.stop.is_set():
            try:
                self._round(runtime, dice)
                self.done += 1
            except FlightctlError as error:
                if error.code not in self.bears:
                    self.strange.append(f"{error.code}: {error.message}")
            except Exception as error:  # noqa: BLE001 - the test fails of it, in its own thread
                self.strange.append(repr(error))

    def _round(self, runtime: Runtime, dice: random.Random) -> None:
        identifier = dice.choice(["F1", "F2", TWO_LEGS])
        booking = book(runtime, BookRequest(identifier, "u", dice.randint(1, 3), None, 300)).booking.booking_id
        choice = dice.random()
        if choice < 0.3:
            status = settlement.confirm(runtime, booking).booking.status
        elif choice < 0.5:
            status = settlement.callback(runtime, CallbackRequest(booking, CallbackStatus.FAILURE)).booking_status
        elif choice < 0.6:
            self.world_lapses(runtime, booking)
            sweeper.sweep(runtime)
            return
        elif choice < 0.7:
            payments.process(runtime, booking_id=booking)
            status = settlement.callback(runtime, CallbackRequest(booking, CallbackStatus.SUCCESS)).booking_status
        else:
            status = cancellation.release(runtime, booking, reason=None, confirmed_too=False).booking.status
        if status == "CONFIRMED" and dice.random() < 0.8:
            status = cancellation.release(runtime, booking, reason=None, confirmed_too=True).booking.status
        self.last[booking] = str(status)

    @staticmethod
    def world_lapses(runtime: Runtime, booking: str) -> None:
        from sqlalchemy import update

        from flightctl.core.schema import seat_reservations
        from flightctl.core.sql_functions import utc_now

        runtime.database.run(
            lambda tx: tx.change(
                update(seat_reservations)
                .where(seat_reservations.c.booking_id == booking)
                .values(expires_at=utc_now(-1))
            )
        )


@contextmanager
def selling(world: World, agents: int = 4, bears: Set[str] = frozenset()) -> Iterator[Sales]:
    world.line(seats=30)
    with Sales(world, agents, bears) as sales:
        yield sales
    assert sales.done > (0 if bears else 20)
    states = dict(world.sql("SELECT booking_id, status FROM bookings"))
    assert {booking: states[booking] for booking in sales.last} == sales.last


def test_a_busy_system_has_no_violations(world: World) -> None:
    """With the pause between two looks as it is: a second look must find the cache in motion, or right."""
    auditor = world.another("auditor")
    with selling(world):
        end = time.monotonic() + SECONDS
        audits = 0
        while time.monotonic() < end:
            result = audit(auditor)
            assert result.violations == ()
            audits += 1
    assert audits > 0
    assert audit(auditor).violations == ()


@REDIS
def test_the_command_on_a_busy_system(world: World, cli: Cli) -> None:
    with selling(world, agents=2):
        for args in ((), ("--repair",)):
            document = cli("audit", *args, "-o", "json", env=world.backend.env).json()
            assert (document["violations"], document["repaired"]) == ([], [])


@REDIS
def test_flights_are_cancelled_meanwhile(world: World) -> None:
    from flightctl.core import flights

    auditor, operator = world.another("auditor"), world.another("operator")
    world.flight("BIG", seats=60)
    for number in range(40):
        (world.confirmed if number % 2 else world.booked)("BIG", user=f"u{number}")
    cancelling = threading.Thread(target=flights.cancel, args=(operator, "BIG"), kwargs={"reason": "fog"})
    with selling(world, agents=2):
        cancelling.start()
        seen_at_one_look = 0
        while cancelling.is_alive():
            if auditor.database.read(lambda tx: list(on_cancelled_flights(tx))):
                seen_at_one_look += 1
                assert audit(auditor).violations == ()
        cancelling.join()
    assert seen_at_one_look > 0, "a single look would have been fooled"
    assert audit(auditor).violations == ()
    assert world.available("BIG") == [60]


@REDIS
def test_repairs_while_sales_go_on_lose_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts are put wrong again and again, and set right again, under everybody's hands."""
    monkeypatch.setattr(audit_module, "LOOK_AGAIN_SECONDS", 0.2)
    auditor = world.another("auditor")
    repaired = 0
    with selling(world) as sales:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            auditor.database.run(lambda tx: tx.change(text(TAKE_ONE_TOO_MANY)))
            result = audit(auditor, repair=True)
            assert {found.kind for found in result.violations} <= {"seat_count"}
            repaired += len(result.repaired)
    assert repaired > 0
    assert sales.last
    assert audit(auditor, repair=True).violations == ()


@REDIS
def test_a_count_without_the_lock_would_lose_seats(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: what `_count_again` is spared by locking the flight's row before it counts."""

    def careless(tx: Transaction, flight_id: str) -> tuple[int, int] | None:
        row = inventory.seats_on(tx, flight_id)
        time.sleep(0.02)
        inventory.set_available(tx, flight_id, row.total_seats - int(row.held) - int(row.confirmed))
        return None

    monkeypatch.setattr(audit_repair, "_count_again", careless)
    auditor = world.another("auditor", FLIGHTCTL_LOCKING="database")
    lost = False
    with selling(world, bears={"INVARIANT_VIOLATION"}):
        end = time.monotonic() + 20
        while time.monotonic() < end and not lost:
            audit_repair._recount(auditor, Violation("seat_count", "F1", None, ""))
            lost = any(found.kind == "seat_count" for found in audit(auditor).violations)
    assert lost
    monkeypatch.undo()
    assert audit(auditor, repair=True).violations == ()


@REDIS
@pytest.mark.parametrize("kind", [kind for kind, _ in audit_repair._MENDS])
def test_a_mend_of_what_is_whole_changes_nothing(world: World, kind: str) -> None:
    """What was seen may have been mended since, by whoever else: a mend looks again."""
    world.line()
    bookings = [world.confirmed(TWO_LEGS), world.booked(TWO_LEGS), world.expired("F3"), world.booked("F2")]
    world.release(bookings[3])
    if kind == "booking_on_cancelled_flight":
        bookings = bookings[2:]  # a flight stays cancelled; its bookings may have ended
    if kind in {"stuck_payment", "refund_overdue"}:
        bookings.pop(1)  # the processor takes what is due anyway
    before = world.picture()
    for booking in bookings:
        violation = Violation(kind, "F1", booking, "seen before")
        assert audit_repair.repair_all(world.runtime, [violation]) == []
    assert world.picture() == before
    assert world.warnings == []


@REDIS
def test_two_repairs_at_once_mend_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_module, "LOOK_AGAIN_SECONDS", 0.05)
    world.line()
    booking = world.confirmed()
    world.sql("UPDATE payments SET status = 'SUCCESS' WHERE booking_id = %s", booking)
    lapsed = world.booked(TWO_LEGS)
    world.lapse(lapsed)
    stray = world.booked("F3")
    world.sql("UPDATE payments SET status = 'SUCCESS' WHERE booking_id = %s", stray)
    world.sql("UPDATE flights SET available_seats = 1, seat_version = seat_version + 1 WHERE flight_id = 'F2'")
    world.redis.flushdb()
    gate = threading.Barrier(3)
    results: list[tuple[str, ...]] = []

    def repair(runtime: Runtime) -> None:
        gate.wait()
        results.append(audit(runtime, repair=True).repaired)

    started = [threading.Thread(target=repair, args=(world.another(f"auditor {n}"),)) for n in range(3)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()
    assert len(results) == 3
    assert audit(world.runtime).violations == ()
    assert (world.status(lapsed), world.status(stray), world.status(booking)) == ("EXPIRED", "CONFIRMED", "CONFIRMED")
    assert [to for _, _, to in world.moves(stray)] == ["PENDING", "CONFIRMED"]
