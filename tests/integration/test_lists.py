"""Lists: as many statements for a long page as for a short one, and the records of single ones on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event

from flightctl.core import holds, lists, money
from flightctl.core.errors import ValidationError
from flightctl.core.model.pages import Page
from flightctl.core.runtime import Runtime
from tests.builders import TWO_LEGS, World

EVERYTHING: dict[str, Callable[[Runtime], Page]] = {
    "bookings": lambda runtime: lists.list_bookings(runtime, user=None, status=None, flight=None, page=0, size=50),
    "payments": lambda runtime: lists.list_payments(runtime, status=None, page=0, size=50),
    "late": lambda runtime: lists.list_late_payments(runtime, page=0, size=50),
    "holds": lambda runtime: holds.list_holds(runtime, flight=None, user=None, page=0, size=50),
}


@contextmanager
def statements(runtime: Runtime) -> Iterator[list[str]]:
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    engine = runtime.reader.engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", note)


def _one_of_each(world: World) -> None:
    """A booking that waits, one that was paid twice and given up in parts, and money that came too late."""
    world.booked(TWO_LEGS)
    twice = world.confirmed(TWO_LEGS, 2)
    world.callback(twice, "SUCCESS", f"pay-again-{twice}")
    world.release(world.confirmed("F3"))
    world.callback(world.expired("F1"), "SUCCESS", amount=None)
    released = world.booked("F2")
    world.release(released)
    world.callback(released)


@pytest.mark.parametrize("name", EVERYTHING)
def test_a_longer_page_takes_no_more_statements(world: World, name: str) -> None:
    world.line(seats=90)
    _one_of_each(world)
    with statements(world.runtime) as few:
        short = EVERYTHING[name](world.runtime)
    for _ in range(4):
        _one_of_each(world)
    with statements(world.runtime) as many:
        long = EVERYTHING[name](world.runtime)
    assert len(long.content) == 5 * len(short.content) > 0
    assert len(many) == len(few)


def test_what_is_listed_is_what_is_shown(world: World) -> None:
    world.line(seats=90)
    _one_of_each(world)
    listed: Any = EVERYTHING["bookings"](world.runtime).content
    assert len(listed) == 5
    assert list(listed) == [lists.show_booking(world.runtime, one.booking_id) for one in listed]
    paid: Any = EVERYTHING["payments"](world.runtime).content
    assert {one.refund_due for one in paid} >= {0, 1000, 4000}
    assert list(paid) == [lists.show_payment(world.runtime, one.payment_id) for one in paid]


def test_late_money_since_a_day(world: World) -> None:
    world.line(seats=90)
    _one_of_each(world)
    _one_of_each(world)
    late: Any = EVERYTHING["late"](world.runtime).content
    for number, payment in enumerate(late):
        day = "2026-11-01 23:59:59.999999" if number % 2 else "2026-11-02 00:00:00.000000"
        world.sql("UPDATE payments SET created_at = %s WHERE payment_id = %s", day, payment.payment.payment_id)

    def since(day: str) -> set[str]:
        page: Any = lists.list_late_payments(world.runtime, since=day, page=0, size=50)
        assert page.total_elements == len(page.content)
        return {one.payment.payment_id for one in page.content}

    every = [one.payment.payment_id for one in late]
    assert len(every) == 4
    assert since("2026-11-01") == set(every)
    assert since("2026-11-02") == set(every[::2])
    assert since("+1d") == set()
    with pytest.raises(ValidationError, match="--since"):
        since("yesterday")


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_an_empty_page(world: World) -> None:
    assert [make(world.runtime).content for make in EVERYTHING.values()] == [()] * len(EVERYTHING)
    assert world.runtime.database.read(lambda tx: money.to_payments(tx, [])) == []
