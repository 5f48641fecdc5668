"""Batches: what several statements in one round trip answer, and what is left behind when one of them fails."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.exc import DBAPIError

from flightctl.core.database_errors import duplicate_key
from flightctl.core.prepared import Step
from flightctl.core.schema import flights, mock_gateway_ledger
from tests.builders import World

_SEATS = select(flights.c.available_seats).where(flights.c.flight_id == bindparam("wanted"))
_TAKE = (
    update(flights)
    .where(flights.c.flight_id == bindparam("wanted"))
    .values(available_seats=flights.c.available_seats - 1)
)
_NOTE = insert(mock_gateway_ledger)


def _note(*ids: str) -> Step:
    now = datetime.now(UTC)
    row = {"kind": "CHARGE", "amount": Decimal("1.00"), "outcome": "SUCCESS", "created_at": now}
    return Step(_NOTE, [{**row, "request_id": one} for one in ids])


def test_rows_come_with_the_step_that_asked_for_them(world: World) -> None:
    world.line(seats=9)
    before, _, after, _ = world.runtime.database.send(
        [
            Step(_SEATS, {"wanted": "F1"}),
            Step(_TAKE, {"wanted": "F1"}),
            Step(_SEATS, {"wanted": "F1"}),
            _note("a%b;COMMIT", "c'd"),
        ]
    )
    assert [row.available_seats for row in before + after] == [9, 8]
    assert world.available("F1") == [8]
    assert {row[0] for row in world.sql("SELECT request_id FROM mock_gateway_ledger")} == {"a%b;COMMIT", "c'd"}
    world.unchecked = "seats were taken without a booking"


@pytest.mark.parametrize("wanted", [[], ["F1"], ["F3", "F1", "F1"], ["x' OR '1'='1", "%s", "F2"], ["?"]], ids=str)
def test_a_list_takes_as_many_values_as_it_has(world: World, wanted: list[str]) -> None:
    world.line(seats=9)
    listed = select(flights.c.flight_id).where(
        flights.c.flight_id.in_(bindparam("wanted", expanding=True)), flights.c.departure_date >= bindparam("day")
    )
    parameters = {"wanted": wanted, "day": date(2020, 1, 1)}
    steps = [Step(listed, parameters), Step(_SEATS, {"wanted": "F1"}), Step(listed, {**parameters, "wanted": ["F2"]})]
    found, _, other = world.runtime.database.read(lambda tx: tx.fetch(steps))
    assert sorted(row.flight_id for row in found) == sorted({"F1", "F2", "F3"} & set(wanted))
    assert [row.flight_id for row in other] == ["F2"]


def test_a_batch_that_fails_leaves_neither_rows_nor_locks(world: World) -> None:
    world.line(seats=9)
    database = world.runtime.database
    database.send([_note("taken")])
    with pytest.raises(DBAPIError) as refused:
        database.send([Step(_TAKE, {"wanted": "F1"}), _note("taken"), Step(_TAKE, {"wanted": "F2"})])
    assert duplicate_key(refused.value) in {"PRIMARY", "mock_gateway_ledger.request_id"}
    assert world.available("F1", "F2") == [9, 9]
    # A lock that was left behind would keep the other one waiting, and the error would be its.
    other = world.another(FLIGHTCTL_DATABASE_LOCK_TIMEOUT="1s")
    other.database.send([Step(_TAKE, {"wanted": "F1"})])
    other.close()
    database.send([Step(_TAKE, {"wanted": "F1"})])
    assert world.available("F1", "F2") == [7, 9]
    world.unchecked = "seats were taken without a booking"


def test_a_change_counts_what_it_matched(world: World) -> None:
    """Also where the row was that way before: a guard asks whether it held, not whether anything is different now."""
    world.line(seats=9)
    same = update(flights).where(flights.c.flight_id == bindparam("wanted")).values(price=flights.c.price)
    assert [
        world.runtime.database.run(lambda tx, one=one: tx.change(same, {"wanted": one})) for one in ("F1", "F9")
    ] == [1, 0]
