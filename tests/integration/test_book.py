"""Booking: what is taken and written, keys and their replays, holds, prices, and everything that is refused."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from flightctl.core import waiting
from flightctl.core.booking import book, book_and_wait
from flightctl.core.errors import (
    DatabaseUnavailableError,
    FlightctlError,
    HoldExpiredError,
    IdempotencyMismatchError,
    InvalidFlightError,
    InvalidStateError,
    NoSeatsAvailableError,
    PaymentDeclinedError,
    ServiceUnavailableError,
    ValidationError,
    WaitTimeoutError,
)
from flightctl.core.model.bookings import BookRequest
from flightctl.core.model.states import BookingStatus, FlightType
from flightctl.core.waiting import await_status
from flightctl.errors_shown import as_flightctl_error
from tests.builders import DAY, DIRECT, LONG_AGO, THREE_LEGS, TWO_LEGS, World, at, text_of, unchanged
from tests.checker import exact

# --- what a booking is -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("identifier", "kind", "flights"),
    [
        (DIRECT, FlightType.DIRECT, ("F1",)),
        (TWO_LEGS, FlightType.COMPUTED, ("F1", "F2")),
        (THREE_LEGS, FlightType.COMPUTED, ("F1", "F2", "F3")),
    ],
)
def test_book(world: World, identifier: str, kind: FlightType, flights: tuple[str, ...]) -> None:
    world.line(seats=9, price="1000.10")
    result = world.book(identifier, 3, user=" u1 ", key="k")
    booking = result.booking
    assert not result.replayed
    assert (booking.status, booking.flight_type, booking.flight_identifier) == (BookingStatus.PENDING, kind, identifier)
    assert (booking.user_id, booking.seats, booking.idempotency_key) == ("u1", 3, "k")
    assert booking.flight_ids == flights
    assert booking.total_price == Decimal("3000.30") * len(flights)
    assert booking.payment_id == world.payment(booking.booking_id)
    assert world.payments(booking.booking_id) == {booking.payment_id: ("REQUESTED", "GATEWAY")}
    assert world.available("F1", "F2", "F3") == [6] * len(flights) + [9] * (3 - len(flights))
    assert world.holds(booking.booking_id) == [(flight, None) for flight in flights]
    assert world.moves(booking.booking_id) == [("agent", None, "PENDING")]
    assert exact(world.one("SELECT amount FROM payments")) == booking.total_price
    assert exact(world.one("SELECT total_price FROM bookings")) == booking.total_price
    assert set(booking.booking_id) <= set("ABCDEFGHJKMNPQRSTUVWXYZ23456789")
    assert len(booking.booking_id) == 6


def test_result_says_what_stands_in_the_database(world: World) -> None:
    from flightctl.core.lists import show_booking

    world.line()
    booking = world.book(TWO_LEGS, 2).booking
    assert show_booking(world.runtime, booking.booking_id.lower()) == booking


def test_legs_are_booked_in_the_order_flown_not_in_that_of_their_ids(world: World) -> None:
    world.flight("Z1", "DEL", "BOM", at(6))
    world.flight("A2", "BOM", "BLR", at(10))
    booking = world.book("CF_DEL_BLR_Z1_A2").booking
    assert booking.flight_ids == ("Z1", "A2")
    assert world.sql("SELECT leg_order, flight_id FROM booking_flights ORDER BY leg_order") == [(1, "Z1"), (2, "A2")]


def test_seat_version_rises_with_every_change_of_seats(world: World) -> None:
    world.line()
    seen = [world.one("SELECT seat_version FROM flights WHERE flight_id = 'F1'")]
    booking = world.booked()
    for step in (lambda: None, lambda: world.release(booking)):
        step()
        seen.append(world.one("SELECT seat_version FROM flights WHERE flight_id = 'F1'"))
    assert seen == sorted(set(seen))


@pytest.mark.parametrize("identifier", ["f1", " F1 ", "cf_del_blr_f1_f2"])
def test_ids_are_matched_without_regard_to_case(world: World, identifier: str) -> None:
    world.line()
    booking = world.book(identifier, key="k").booking
    assert booking.flight_identifier == identifier.strip().upper()
    assert world.book(identifier.swapcase(), key="k").replayed


@pytest.mark.parametrize("full", ["F1", "F2", "F3"])
def test_all_legs_or_none(world: World, full: str) -> None:
    world.line()
    world.sql("UPDATE flights SET total_seats = 2, available_seats = 2 WHERE flight_id = %s", full)
    with pytest.raises(NoSeatsAvailableError) as caught:
        unchanged(world, lambda: world.book(THREE_LEGS, 3))
    assert caught.value.details["flightId"] == full
    assert (caught.value.details["requested"], caught.value.details["available"]) == (3, 2)
    world.book(THREE_LEGS, 2)


def test_a_leg_that_fills_up_after_the_look_takes_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The seats looked enough; the conditional UPDATE finds them gone, and the first legs' seats go back."""
    from flightctl.core import booking as module

    world.line(seats=3)
    look = module._look

    def look_and_lose(*args: object) -> object:
        found = look(*args)  # type: ignore[arg-type]
        world.sql(
            "UPDATE flights SET available_seats = 0, total_seats = 1, seat_version = seat_version + 1 WHERE flight_id = 'F3'"
        )
        return found

    world.unchecked = "a flight has no available seat and no booking"
    monkeypatch.setattr(module, "_look", look_and_lose)
    with pytest.raises(NoSeatsAvailableError):
        world.book(THREE_LEGS, 1, key="k")
    assert world.available("F1", "F2", "F3") == [3, 3, 0]
    assert world.one("SELECT COUNT(*) FROM bookings") == 0
    monkeypatch.undo()
    assert not world.book(TWO_LEGS, 1, key="k").replayed  # the key is free as well


@pytest.mark.parametrize("how", ["cancelled", "departed"])
def test_a_leg_that_stops_flying_after_the_look_takes_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    from flightctl.core import booking as module

    world.line()
    look = module._look

    def look_and_lose(*args: object) -> object:
        found = look(*args)  # type: ignore[arg-type]
        (world.cancel_by_half if how == "cancelled" else world.depart)("F2")
        return found

    monkeypatch.setattr(module, "_look", look_and_lose)
    with pytest.raises(InvalidFlightError, match=how):
        world.book(THREE_LEGS, 1)
    assert world.available("F1", "F2", "F3") == [9, 9, 9]


# --- keys ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("identifier", [DIRECT, THREE_LEGS])
def test_same_key_and_request_is_the_same_booking(world: World, identifier: str) -> None:
    world.line()
    first = world.book(identifier, 2, key="k")
    again = unchanged(world, lambda: world.book(identifier, 2, key="k"))
    assert again.replayed
    assert again.booking == first.booking


@pytest.mark.parametrize(
    "other",
    [
        {"user": "u2"},
        {"user": "U1"},
        {"seats": 2},
        {"identifier": TWO_LEGS},
        {"identifier": "F2"},
        {"identifier": "NOSUCH"},
        {"identifier": "CF_DEL_BLR_F1_NOSUCH"},
        {"seats": 9},
    ],
)
def test_same_key_for_another_request_is_refused(world: World, other: dict[str, object]) -> None:
    """Before any check of the flight: an unknown one, or one without the seats, is told the same."""
    world.line(seats=5)
    first = world.booked(key="k")
    request = {"identifier": DIRECT, "seats": 1, "user": "u1", "key": "k", **other}
    with pytest.raises(IdempotencyMismatchError) as caught:
        unchanged(world, lambda: world.book(**request))  # type: ignore[arg-type]
    assert caught.value.details["idempotencyKey"] == "k"
    assert caught.value.details["bookingId"] == first


@pytest.mark.parametrize("trouble", ["sold out", "cancelled", "departed"])
def test_replay_is_answered_before_any_check_of_the_flight(world: World, trouble: str) -> None:
    world.line(seats=2)
    first = world.booked(TWO_LEGS, 2, key="k")
    if trouble == "cancelled":
        world.cancel_by_half("F2")
    elif trouble == "departed":
        world.depart("F1")
    again = world.book(TWO_LEGS, 2, key="k")
    assert (again.replayed, again.booking.booking_id) == (True, first)
    with pytest.raises(FlightctlError):
        world.book(TWO_LEGS, 2, key="new")


@pytest.mark.parametrize(
    ("state", "status"),
    [("confirmed", "CONFIRMED"), ("failed", "FAILED"), ("released", "CANCELLED"), ("expired", "EXPIRED")],
)
def test_replay_shows_the_present_state(world: World, state: str, status: str) -> None:
    world.line()
    booking = world.booked(key="k")
    if state == "confirmed":
        world.callback(booking)
    elif state == "failed":
        world.callback(booking, "FAILURE")
    elif state == "released":
        world.release(booking)
    else:
        world.lapse(booking)
        world.sweep()
    again = unchanged(world, lambda: world.book(key="k"))
    assert (again.replayed, again.booking.booking_id, again.booking.status) == (True, booking, status)


def test_replay_after_the_price_changed_keeps_the_old_price(world: World) -> None:
    world.line(price="1000.00")
    first = world.book(key="k").booking
    world.sql("UPDATE flights SET price = %s", world.money("1.00"))
    assert world.book(key="k").booking.total_price == first.total_price == Decimal("1000.00")
    assert world.book(key="k2").booking.total_price == Decimal("1.00")


def test_replay_does_not_look_at_the_ttl(world: World) -> None:
    world.line()
    first = world.book(key="k", ttl=60)
    assert world.book(key="k", ttl=3600).booking.expires_at == first.booking.expires_at


@pytest.mark.parametrize("other", ["K", "k ", " k", "k\\", "k%", "'k", "kk", "_"])
def test_keys_are_compared_byte_by_byte(world: World, other: str) -> None:
    world.line()
    world.book(key="k")
    second = world.book(key=other)
    assert not second.replayed
    assert second.booking.idempotency_key == other
    assert world.book(key=other).replayed


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
@pytest.mark.parametrize("key", ["", "x" * 129, "é", "a\tb", "a\nb", "\x7f", "\x00", "\udc80", "日本"])
def test_bad_keys(world: World, key: str) -> None:
    world.line()
    with pytest.raises(ValidationError) as caught:
        unchanged(world, lambda: world.book(key=key))
    assert caught.value.details["idempotencyKey"] == key[:128]


@pytest.mark.parametrize("key", [" ", "x" * 128, "'; DROP TABLE bookings; --", "%s ? :key {0}", "~!@#$%^&*()_+`"])
def test_good_keys(world: World, key: str) -> None:
    world.line()
    assert world.book(key=key).booking.idempotency_key == key
    assert world.book(key=key).replayed


def test_a_random_key_when_none_is_given(world: World) -> None:
    world.line()
    keys = {world.book().booking.idempotency_key for _ in range(3)}
    assert len(keys) == 3
    assert all(len(key) >= 16 for key in keys)


def test_an_attempt_that_was_rolled_back_leaves_the_key_free(world: World) -> None:
    world.line(seats=2)
    other = world.booked(seats=2)
    with pytest.raises(NoSeatsAvailableError):
        world.book(key="k")
    world.release(other)
    assert not world.book(key="k").replayed


def test_same_key_at_once_books_once(world: World) -> None:
    world.line(seats=3)
    runtimes = [world.another(f"agent {n}") for n in range(6)]
    request = BookRequest(TWO_LEGS, "u1", 2, "k")
    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(lambda runtime: book(runtime, request), runtimes))
    assert len({result.booking.booking_id for result in results}) == 1
    assert [result.replayed for result in results].count(False) == 1
    assert world.available("F1", "F2") == [1, 1]


def test_two_buyers_of_the_last_two_seats(world: World) -> None:
    world.line(seats=2)
    runtimes = [world.another(f"agent {n}") for n in range(2)]

    def buy(runtime: object) -> str:
        try:
            return book(runtime, BookRequest(DIRECT, "u", 2)).booking.status  # type: ignore[arg-type]
        except NoSeatsAvailableError as error:
            return error.code

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(buy, runtimes)) == ["NO_SEATS_AVAILABLE", "PENDING"]


def test_twenty_buyers_of_ten_seats(world: World) -> None:
    world.line(seats=10)
    runtimes = [world.another(f"agent {n}") for n in range(8)]

    def buy(n: int) -> bool:
        try:
            book(runtimes[n % 8], BookRequest(DIRECT, f"u{n}", 1))
        except NoSeatsAvailableError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(buy, range(20))) == 10
    assert world.available("F1") == [0]


# --- holds -----------------------------------------------------------------------------------------------------------


def _hold_seconds(world: World, **more: object) -> float:
    booking = world.book(**more).booking  # type: ignore[arg-type]
    assert booking.expires_at is not None
    return (booking.expires_at - booking.created_at).total_seconds()


@pytest.mark.parametrize(("ttl", "seconds"), [(None, 300), (1, 1), (90, 90), (86400, 86400)])
def test_hold_time(world: World, ttl: int | None, seconds: float) -> None:
    world.line()
    assert _hold_seconds(world, ttl=ttl) == seconds


def test_hold_time_is_of_the_databases_clock(world: World) -> None:
    world.line()
    booking = world.book().booking
    assert abs(booking.created_at - datetime.now(UTC)) < timedelta(seconds=60)
    stored = world.one("SELECT expires_at FROM seat_reservations")
    assert str(stored)[:19] == f"{booking.expires_at:%Y-%m-%d %H:%M:%S}"


def test_hold_time_by_configuration(world: World) -> None:
    world.line()
    runtime = world.another(FLIGHTCTL_BOOKING_HOLD="42s")
    booking = book(runtime, BookRequest(DIRECT, "u1")).booking
    assert booking.expires_at is not None
    assert (booking.expires_at - booking.created_at).total_seconds() == 42


@pytest.mark.parametrize("form", ["%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M:%S.000", "%Y-%m-%d %H:%M:%S.123456"])
def test_times_that_other_peoples_sql_wrote(world: World, form: str) -> None:
    """SQLite keeps them as the text that they were."""
    world.line()
    for flight, hours in (("F1", 6), ("F2", 9.5)):
        departs, arrives = (at(hours + flown).strftime(form) for flown in (0, 2))
        world.sql(
            "UPDATE flights SET departure_time = %s, arrival_time = %s WHERE flight_id = %s", departs, arrives, flight
        )
    booking = world.booked(TWO_LEGS)
    assert world.available("F1", "F2") == [8, 8]
    world.callback(booking)
    assert world.status(booking) == "CONFIRMED"


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
@pytest.mark.parametrize("ttl", [0, -1, 86401, 10**12])
def test_hold_time_out_of_bounds(world: World, ttl: int) -> None:
    world.line()
    with pytest.raises(ValidationError, match="--ttl"):
        world.book(ttl=ttl)


def test_hold_never_outlives_the_first_departure(world: World) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=100)
    world.flight("F1", "DEL", "BOM", soon)
    world.flight("F2", "BOM", "BLR", soon + timedelta(hours=4))
    booking = world.book(TWO_LEGS, ttl=3600).booking
    assert booking.expires_at is not None
    assert booking.expires_at == soon
    stored = world.sql("SELECT DISTINCT expires_at FROM seat_reservations")
    assert [str(row[0])[:19] for row in stored] == [text_of(soon)[:19]]


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
@pytest.mark.parametrize("user", ["", "   ", "x" * 65, "a\nb", "\x00", "a\x1b[31m", "\udc80", "a\u202eb", "a\u200bb"])
def test_bad_users(world: World, user: str) -> None:
    world.line()
    with pytest.raises(ValidationError, match="--user") as caught:
        unchanged(world, lambda: world.book(user=user, key="k"))
    assert caught.value.details["idempotencyKey"] == "k"


@pytest.mark.parametrize(
    "user",
    ["x" * 64, "Zoë 日本 🛫", "山田\u3000太郎", "ക്ഷ\u200dമ 👨\u200d👩", "'; DROP TABLE flights; --", "%s", "a'b\"c"],
)
def test_good_users(world: World, user: str) -> None:
    world.line()
    booking = world.book(user=user).booking
    assert booking.user_id == user
    assert world.one("SELECT user_id FROM bookings WHERE booking_id = %s", booking.booking_id) == user


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
@pytest.mark.parametrize("seats", [0, -1, 10, 10**9])
def test_bad_seats(world: World, seats: int) -> None:
    world.line(seats=20)
    with pytest.raises(ValidationError, match="--seats takes 1 to 9"):
        unchanged(world, lambda: world.book(seats=seats))


def test_seats_by_configuration(world: World) -> None:
    world.line(seats=20)
    runtime = world.another(FLIGHTCTL_BOOKING_MAX_SEATS="12")
    assert book(runtime, BookRequest(DIRECT, "u1", 12)).booking.seats == 12
    with pytest.raises(ValidationError):
        book(runtime, BookRequest(DIRECT, "u1", 13))


def test_sold_out_names_the_flight_and_its_seats(world: World) -> None:
    world.line(seats=3)
    with pytest.raises(NoSeatsAvailableError) as caught:
        world.book(seats=4, key="k")
    assert caught.value.details == {"flightId": "F1", "requested": 4, "available": 3, "idempotencyKey": "k"}


# On top of the line F1, F2, F3: what each would break alone.
EXTRA = {
    "SHORT": ("BOM", "BLR", 8 + 59 / 60),  # 59 minutes after F1 arrives
    "JUST": ("BOM", "BLR", 9.0),  # 60 minutes
    "LONG": ("BOM", "BLR", 14.0),  # 6 hours
    "TOOLONG": ("BOM", "BLR", 14 + 1 / 60),
    "BEFORE": ("BOM", "BLR", 5.0),
    "BACK": ("BOM", "DEL", 10.0),
    "AGAIN": ("BLR", "BOM", 14.0),
    "FOURTH": ("MAA", "CCU", 18.0),
}


NO_ITINERARIES = [
    "NOSUCH",
    "F",
    "F11",
    "CANCELLED",
    "DEPARTED",
    "CF_DEL_BLR_F1_NOSUCH",
    "CF_DEL_BLR_F1_SHORT",
    "CF_DEL_BLR_F1_TOOLONG",
    "CF_DEL_BLR_F1_BEFORE",
    "CF_DEL_DEL_F1_BACK",
    "CF_DEL_BOM_F1_F2_AGAIN",
    "CF_DEL_MAA_F1_F3",  # do not meet
    "CF_DEL_BLR_F2_F1",  # out of order
    "CF_BOM_BLR_F1_F2",  # wrong ends
    "CF_DEL_MAA_F1_F2",
    "CF_XXX_YYY_F1_F2",
    "CF_DEL_BOM_F1_F1",
    "CF_DEL_BOM_F1",  # one leg
    "CF_DEL_CCU_F1_F2_F3_FOURTH",  # four
    "CF_DEL_BLR_F1_CANCELLED",
    "CF_",
    "CF_DEL",
    "CF_DEL_BLR",
    "CF___",
    "CF_DEL_BLR_F1_",
    "CF_DEL_BLR__F2",
    "CF__DEL_BLR_F1_F2",
    "XX_DEL_BLR_F1_F2",
    "F1_F2",
    "_",
    "F1' OR '1'='1",
    "F1'; DROP TABLE flights; --",
    'F1" OR 1=1',
    "F1\\",
    "F%",
    "%s",
    "?",
    ":id",
    "F1\x00",
    "F1\u00a0x",
    "Ｆ１",
    "🛫",
    "../../etc/passwd",
]


def test_what_is_no_itinerary(world: World) -> None:
    world.line()
    for name, (source, destination, hour) in EXTRA.items():
        world.flight(name, source, destination, at(hour))
    world.flight("CANCELLED", "BOM", "BLR", at(10), status="CANCELLED")
    world.flight("DEPARTED", "BOM", "BLR", at(10, day=-10))
    before = world.picture()
    for identifier in NO_ITINERARIES:
        with pytest.raises(InvalidFlightError) as caught:
            pytest.fail(f"{identifier!r} was booked as {world.book(identifier, key='k')}")
        assert caught.value.details["idempotencyKey"] == "k", identifier
        assert len(caught.value.message) < 300
    assert world.picture() == before


@pytest.mark.parametrize("identifier", ["", "  ", "x" * 161, "x" * 10_240, "_" * 10_240, "F1\udc80"])
def test_what_is_no_identifier(world: World, identifier: str) -> None:
    world.line()
    with pytest.raises((ValidationError, InvalidFlightError)) as caught:
        unchanged(world, lambda: world.book(identifier, key="k"))
    assert caught.value.details["idempotencyKey"] == "k"
    assert len(caught.value.message) < 300


@pytest.mark.parametrize("last", ["JUST", "LONG"])
def test_connections_at_both_bounds(world: World, last: str) -> None:
    world.line()
    source, destination, hour = EXTRA[last]
    world.flight(last, source, destination, at(hour))
    assert world.book(f"CF_DEL_BLR_F1_{last}").booking.status == "PENDING"


def test_connection_times_are_configurable(world: World) -> None:
    world.line()  # two hours between the flights
    with pytest.raises(InvalidFlightError, match="at least 150 min"):
        book(world.another(FLIGHTCTL_SEARCH_MIN_CONNECTION="150m"), BookRequest(TWO_LEGS, "u1"))
    with pytest.raises(InvalidFlightError, match="at most 90 min"):
        book(world.another(FLIGHTCTL_SEARCH_MAX_CONNECTION="90m"), BookRequest(TWO_LEGS, "u1"))


def test_a_connection_after_midnight(world: World) -> None:
    world.flight("F1", "DEL", "BOM", at(21))
    world.flight("F2", "BOM", "BLR", at(1, day=1))
    assert world.book(TWO_LEGS).booking.flight_ids == ("F1", "F2")
    assert f"{DAY:%Y}" in str(world.one("SELECT departure_date FROM flights WHERE flight_id = 'F1'"))


def test_a_flight_that_departs_this_very_moment_has_departed(world: World) -> None:
    world.flight("F1", "DEL", "BOM", datetime.now(UTC) - timedelta(seconds=1))
    with pytest.raises(InvalidFlightError, match="departed"):
        world.book()


# --- --wait ----------------------------------------------------------------------------------------------------------


def _processor_alive(world: World, seen: datetime) -> None:
    world.sql(
        "INSERT INTO worker_heartbeats (worker_id, role, started_at, seen_at) VALUES ('w', 'payments', %s, %s)",
        LONG_AGO,
        text_of(seen),
    )


def test_wait_without_a_processor_books_nothing(world: World) -> None:
    world.line()
    _processor_alive(world, datetime.now(UTC) - timedelta(minutes=2))
    with pytest.raises(ServiceUnavailableError) as caught:
        unchanged(world, lambda: book_and_wait(world.runtime, BookRequest(DIRECT, "u1", 1, "k"), 5))
    assert caught.value.details["idempotencyKey"] == "k"


def test_wait_with_the_key_of_a_booking_that_is_settled_needs_no_processor(world: World) -> None:
    world.line()
    world.callback(world.booked(key="k"))
    result = book_and_wait(world.runtime, BookRequest(DIRECT, "u1", 1, "k"), 5)
    assert (result.replayed, result.booking.status) == (True, BookingStatus.CONFIRMED)


def test_wait_runs_out(world: World) -> None:
    world.line()
    _processor_alive(world, datetime.now(UTC))
    with pytest.raises(WaitTimeoutError) as caught:
        book_and_wait(world.runtime, BookRequest(DIRECT, "u1", 1, "k"), 0.1)
    assert caught.value.result.booking.status == BookingStatus.PENDING
    assert caught.value.details["idempotencyKey"] == "k"


def test_the_database_goes_away_while_a_booking_waits(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was booked is told; "nothing was changed" would be wrong."""
    world.line()
    _processor_alive(world, datetime.now(UTC))

    def away(*_: Any, **__: Any) -> None:
        raise DatabaseUnavailableError("the database does not answer")

    monkeypatch.setattr(waiting, "await_status", away)
    with pytest.raises(DatabaseUnavailableError) as caught:
        book_and_wait(world.runtime, BookRequest(DIRECT, "u1", 1, "k"), 0.1)
    booking = caught.value.result.booking
    assert world.status(booking.booking_id) == booking.status == BookingStatus.PENDING
    assert caught.value.hint.startswith(f"Booking {booking.booking_id} was made.")
    assert caught.value.details == {"idempotencyKey": "k", "bookingId": booking.booking_id}


def test_a_database_that_comes_back_while_a_booking_waits(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.line()
    _processor_alive(world, datetime.now(UTC))
    looked = []

    def away_at_first(runtime: Any, booking_id: str, *rest: Any) -> Any:
        looked.append(booking_id)
        if len(looked) == 1:
            world.callback(booking_id)
            raise DatabaseUnavailableError("the database does not answer")
        return await_status(runtime, booking_id, *rest)

    monkeypatch.setattr(waiting, "await_status", away_at_first)
    result = book_and_wait(world.runtime, BookRequest(DIRECT, "u1", 1, "k"), 30)
    assert result.booking.status == BookingStatus.CONFIRMED


def test_interrupted_while_a_booking_waits(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.line()
    _processor_alive(world, datetime.now(UTC))

    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(waiting, "await_status", interrupt)
    with pytest.raises(KeyboardInterrupt) as caught:
        book_and_wait(world.runtime, BookRequest(DIRECT, "u1", 1, "k"), 5)
    shown = as_flightctl_error(caught.value)
    assert shown.exit_status == 130
    assert world.status(shown.result.booking.booking_id) == BookingStatus.PENDING
    assert "goes on by itself" in shown.hint


@pytest.mark.parametrize(
    ("end", "error"), [("FAILURE", PaymentDeclinedError), ("lapse", HoldExpiredError), ("release", InvalidStateError)]
)
def test_unhappy_ends_of_waiting(world: World, end: str, error: type[FlightctlError]) -> None:
    world.line()
    booking = world.booked()
    if end == "FAILURE":
        world.callback(booking, "FAILURE")
    elif end == "release":
        world.release(booking)
    else:
        world.lapse(booking)
        world.sweep()
    with pytest.raises(error) as caught:
        await_status(world.runtime, booking, timeout_seconds=5)
    assert caught.value.result.booking_id == booking


def test_happy_end_of_waiting(world: World) -> None:
    world.line()
    booking = world.confirmed()
    assert await_status(world.runtime, booking, timeout_seconds=5).status == BookingStatus.CONFIRMED
