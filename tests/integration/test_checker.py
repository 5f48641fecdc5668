"""The checker finds every damage it is there for: otherwise every test that trusts it proves nothing."""

import pytest

from tests.builders import LONG_AGO, TWO_LEGS, World
from tests.checker import RULES, exact, violations

# What is done to a world with a PENDING, a CONFIRMED, a CANCELLED (after it was paid) and an EXPIRED booking, and a
# word of the complaint. {pending} and so on are their ids.
DAMAGE = {
    "a seat vanishes": ("UPDATE flights SET available_seats = available_seats - 1 WHERE flight_id = 'F3'", "flight F3"),
    "a hold vanishes": (
        "DELETE FROM seat_reservations WHERE booking_id = '{pending}' AND flight_id = 'F2'",
        "open holds",
    ),
    "a hold twice": (
        "INSERT INTO seat_reservations (booking_id, flight_id, seats, expires_at, created_at)"
        f" VALUES ('{{pending}}', 'F1', 1, '{LONG_AGO}', '{LONG_AGO}')",
        "2 open holds",
    ),
    "a hold of other seats": (
        "UPDATE seat_reservations SET seats = 2 WHERE booking_id = '{pending}' AND flight_id = 'F1'",
        "not what it asked for",
    ),
    "a hold on another flight": (
        "UPDATE seat_reservations SET flight_id = 'F3' WHERE booking_id = '{pending}' AND flight_id = 'F1'",
        "none of its legs",
    ),
    "an open hold of an ended booking": (
        "UPDATE seat_reservations SET deleted_at = NULL, outcome = NULL WHERE booking_id = '{expired}'",
        "has an open hold",
    ),
    "a hold that ended wrongly": (
        "UPDATE seat_reservations SET outcome = 'RELEASED' WHERE booking_id = '{confirmed}'",
        "holds ended as CONFIRMED",
    ),
    "a hold confirmed for nobody": (
        "UPDATE seat_reservations SET outcome = 'CONFIRMED' WHERE booking_id = '{expired}'",
        "has a hold ended as CONFIRMED",
    ),
    "a hold past departure": (
        "UPDATE seat_reservations SET expires_at = '2099-01-01 00:00:00.000000' WHERE deleted_at IS NULL",
        "past the departure",
    ),
    "holds that lapse apart": (
        f"UPDATE seat_reservations SET expires_at = '{LONG_AGO}' WHERE deleted_at IS NULL AND flight_id = 'F1'",
        "different moments",
    ),
    "a state without its events": ("UPDATE bookings SET status = 'FAILED' WHERE booking_id = '{expired}'", "history"),
    "an event out of the chain": (
        "UPDATE booking_events SET from_status = 'FAILED' WHERE from_status = 'PENDING'",
        "next event",
    ),
    "a missing event": ("DELETE FROM booking_events WHERE from_status IS NULL", "next event"),
    "an event of nobody": ("UPDATE booking_events SET actor = ''", "who or why"),
    "a payment of a booking that is not confirmed": (
        "UPDATE payments SET status = 'SUCCESS' WHERE booking_id = '{expired}'",
        "is SUCCESS, its booking",
    ),
    "a confirmed booking that nobody paid": (
        "UPDATE payments SET status = 'FAILED' WHERE booking_id = '{confirmed}'",
        "0 SUCCESS payments",
    ),
    "paid less": ("UPDATE payments SET amount = 1 WHERE booking_id = '{confirmed}'", "0 SUCCESS payments"),
    "a payment asked of an ended booking": (
        "UPDATE payments SET status = 'REQUESTED' WHERE booking_id = '{expired}'",
        "is REQUESTED, its booking",
    ),
    "no payment": ("DELETE FROM payments WHERE booking_id = '{pending}'", "has no payment"),
    "a refund that is missing": ("DELETE FROM refunds", "without a refund"),
    "a refund of too much": ("UPDATE refunds SET amount = amount + 1", "goes back, which was"),
    "a refund of too little": ("UPDATE refunds SET amount = amount - 1", "but only"),
    "a refund of money that stays": (
        "UPDATE refunds SET payment_id = (SELECT payment_id FROM payments WHERE booking_id = '{confirmed}')",
        "0 SUCCESS payments of its total",
    ),
    "a refund of money that never came": (
        "UPDATE refunds SET payment_id = (SELECT payment_id FROM payments WHERE booking_id = '{expired}')",
        "its payment",
    ),
    "money kept of seats that are taken": (
        "UPDATE payments SET retained = 1 WHERE booking_id = '{confirmed}'",
        "0 SUCCESS payments of its total",
    ),
    "money kept that never came": ("UPDATE payments SET retained = 1 WHERE booking_id = '{expired}'", "is retained"),
    "refunded but due": ("UPDATE payments SET status = 'REFUNDED' WHERE booking_id = '{cancelled}'", "is DUE"),
    "paid back without the gateway": ("UPDATE refunds SET status = 'PAID'", "never asked"),
    "the gateway's money is lost": (
        "INSERT INTO mock_gateway_ledger (request_id, kind, amount, outcome, created_at) SELECT payment_id, 'CHARGE',"
        f" amount, 'SUCCESS', '{LONG_AGO}' FROM payments WHERE booking_id = '{{expired}}'",
        "the gateway took",
    ),
    "the gateway charged a stranger": (
        "INSERT INTO mock_gateway_ledger (request_id, kind, amount, outcome, created_at)"
        f" VALUES ('nobody', 'CHARGE', 1, 'FAILURE', '{LONG_AGO}')",
        "is no payment",
    ),
    "the gateway paid a stranger": (
        "INSERT INTO mock_gateway_ledger (request_id, kind, amount, outcome, created_at)"
        f" VALUES ('nobody', 'REFUND', 1, 'SUCCESS', '{LONG_AGO}')",
        "is no refund",
    ),
    "legs out of order": ("UPDATE booking_flights SET leg_order = 3 WHERE leg_order = 2", "has the legs"),
    "a leg too few": ("DELETE FROM booking_flights WHERE leg_order = 2", "has the legs"),
    "no legs": ("DELETE FROM booking_flights", "has no legs"),
    "another type": ("UPDATE bookings SET flight_type = 'DIRECT'", "of 2 legs is DIRECT"),
}
# The database's own CHECKs and keys keep these away.
IMPOSSIBLE = ("seats available", "ended by half", "charges in the gateway's ledger")


@pytest.fixture
def ids(world: World) -> dict[str, str]:
    world.line()
    made = {
        "expired": world.expired(TWO_LEGS),
        "pending": world.booked(TWO_LEGS),
        "confirmed": world.confirmed(TWO_LEGS),
    }
    made["cancelled"] = world.confirmed(TWO_LEGS)
    world.release(made["cancelled"])
    return made


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_every_damage_is_found(world: World, ids: dict[str, str]) -> None:
    world.unchecked = "damage is planted"
    assert violations(world.execute) == []
    silent = []
    complaints = []
    world.sql("PRAGMA foreign_keys = OFF")
    for what, (statement, word) in DAMAGE.items():
        world.sql("BEGIN")
        world.sql(statement.format(**ids))
        found = violations(world.execute)
        world.sql("ROLLBACK")
        complaints += found
        if not any(word in line for line in found):
            silent.append((what, found))
    world.sql("PRAGMA foreign_keys = ON")
    assert silent == []
    for text, _ in RULES:  # every rule has had something to say
        words = max(text.replace("{}", "\n").split("\n"), key=len)
        assert any(words in line for line in complaints) or any(word in text for word in IMPOSSIBLE), text


def test_nothing_is_wrong_with_a_sound_world(world: World, ids: dict[str, str]) -> None:
    """On every back end; and `Backend.execute` will do as well."""
    assert violations(world.backend.execute) == []


def test_money_must_be_exact() -> None:
    assert str(exact(100010)) == "1000.10"
    with pytest.raises(TypeError):
        exact(1000.10)
