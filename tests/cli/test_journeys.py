"""What users and scripts do with the commands, one after the other, as processes of their own, on every back end.

Keys, types and exit codes are those of the specification's tables, written down here a second time.
"""

from __future__ import annotations

import csv
import io
import re
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.builders import DAY, TWO_LEGS, World
from tests.checker import violations
from tests.cli.forked import ForkedCli
from tests.conftest import Backend, Cli, Result
from tests.faults import free_port

TWO_KINDS = pytest.mark.parametrize("backend", ["sqlite", "mysql+redis"], indirect=True)
EMBEDDED = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
REDIS = pytest.mark.parametrize("backend", ["mysql+redis"], indirect=True)

MONEY = re.compile(r"\d+\.\d\d")
UTC_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z")
LOCAL_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d")
LOCATOR = re.compile(r"[A-HJKMNP-Z2-9]{6}")
DATE = re.compile(r"\d{4}-\d\d-\d\d")
PAYMENT = re.compile(r"pay-[a-z2-9]{16}")

OPTIONAL = (str, type(None))
LEG = {
    "flightId": str, "source": str, "destination": str, "departureTime": LOCAL_TIME, "arrivalTime": LOCAL_TIME,
    "price": MONEY, "availableSeats": int,
}  # fmt: skip
ITINERARY = {
    "flightIdentifier": str, "type": re.compile("DIRECT|COMPUTED"), "price": MONEY, "durationMinutes": int,
    "availableSeats": int, "departureTime": LOCAL_TIME, "arrivalTime": LOCAL_TIME, "source": str, "destination": str,
    "hops": int, "legs": [LEG],
}  # fmt: skip
SEARCH = {
    "content": [ITINERARY], "page": int, "size": int, "totalElements": int, "totalPages": int, "first": bool,
    "last": bool,
}  # fmt: skip
BOOKED = {
    "bookingId": LOCATOR, "userId": str, "flightType": str, "flightIdentifier": str, "noOfSeats": int,
    "totalPrice": MONEY, "status": str, "flightIds": [str], "expiresAt": UTC_TIME, "createdAt": UTC_TIME,
    "paymentId": PAYMENT, "idempotencyKey": str, "replayed": bool,
}  # fmt: skip
CHANGED = BOOKED | {"changed": bool, "failureReason": OPTIONAL}
LISTED = {key: kind for key, kind in BOOKED.items() if key != "replayed"} | {
    "failureReason": OPTIONAL, "updatedAt": UTC_TIME,
}  # fmt: skip
EVENT = {
    "bookingId": LOCATOR, "at": UTC_TIME, "actor": str, "fromStatus": OPTIONAL, "toStatus": str, "reason": str,
}  # fmt: skip
FLIGHT = {
    "flightId": str, "carrier": OPTIONAL, "flightNumber": OPTIONAL, "source": str, "destination": str,
    "departureTime": LOCAL_TIME, "arrivalTime": LOCAL_TIME, "departureDate": DATE, "totalSeats": int,
    "availableSeats": int, "price": MONEY, "status": re.compile("ACTIVE|CANCELLED"),
}  # fmt: skip
FLIGHT_CHANGE = FLIGHT | {
    "changed": bool, "bookings": list, "refundsDue": MONEY, "failed": list, "plan": OPTIONAL,
    "affected": [
        {
            "bookingId": LOCATOR, "userId": str, "noOfSeats": int, "before": str, "after": str, "disrupted": bool,
            "refund": MONEY,
        }
    ],
}  # fmt: skip
PAYMENT_SHOWN = {
    "paymentId": str, "bookingId": LOCATOR, "amount": MONEY, "status": str, "source": re.compile("GATEWAY|AGENT"),
    "message": OPTIONAL, "refundId": OPTIONAL, "refundDue": MONEY, "refunded": MONEY, "retained": MONEY,
    "createdAt": UTC_TIME, "updatedAt": UTC_TIME,
}  # fmt: skip
CALLBACK = {"paymentId": str, "bookingId": LOCATOR, "paymentStatus": str, "bookingStatus": str, "changed": bool}
SWEPT = {"expiredBookings": int, "expiredReservations": int, "seatsReleased": int, "flights": int, "tookMs": int}
SEEDED = {"flights": int, "added": int, "airports": int, "from": DATE, "to": DATE, "skipped": int}
PROCESSED = {"claimed": int, "succeeded": int, "failed": int, "timedOut": int, "refunded": int, "errors": [str]}
SEATS = {
    "flightId": str, "status": str, "totalSeats": int, "availableSeats": int, "heldSeats": int, "confirmedSeats": int,
    "cachedSeats": (int, type(None)),
}  # fmt: skip
ERROR = {"code": str, "message": str, "retryable": bool, "hint": str, "details": dict}


def page_of(shape: Any) -> dict[str, Any]:
    return {"content": [shape], "page": int, "size": int, "totalElements": int}


def matches(value: Any, shape: Any, where: str = "$") -> None:
    """Has exactly these keys in this order, and values of these types or forms."""
    if isinstance(shape, dict):
        assert list(value) == list(shape), f"{where}: {list(value)}"
        for key, inner in shape.items():
            matches(value[key], inner, f"{where}.{key}")
    elif isinstance(shape, list):
        assert isinstance(value, list), where
        for position, item in enumerate(value):
            matches(item, shape[0], f"{where}[{position}]")
    elif isinstance(shape, re.Pattern):
        assert isinstance(value, str), f"{where}: {value!r}"
        assert shape.fullmatch(value), f"{where}: {value!r}"
    else:
        kinds = shape if isinstance(shape, tuple) else (shape,)
        assert type(value) in kinds, f"{where}: {value!r}"


class Agent:
    """Runs commands against one back end and looks at the shape of what they print."""

    def __init__(self, cli: Cli | ForkedCli, env: Mapping[str, str]) -> None:
        self.cli = cli
        self.env = dict(env)

    def __call__(self, *args: str, check: int | None = 0, **variables: str) -> Result:
        return self.cli(*args, env=self.env | variables, check=check)

    def json(self, shape: Any, *args: str, check: int = 0) -> Any:
        result = self(*args, "-o", "json", check=check)
        document = result.json()
        matches(document, shape)
        if check == 0:
            assert result.stderr == ""
        return document

    def refused(self, exit_code: int, code: str, *args: str, **variables: str) -> dict[str, Any]:
        result = self(*args, "-o", "json", check=exit_code, **variables)
        assert result.stdout == ""
        matches(result.error, ERROR)
        assert result.error["code"] == code
        assert result.error["message"]
        assert result.error["hint"]
        assert len(result.stderr.splitlines()) == 1
        return result.error


@pytest.fixture
def world(backend: Backend) -> Iterator[World]:
    made = World(backend)
    made.line()
    yield made
    faults = made.faults()
    made.close()
    assert faults == []


@pytest.fixture(scope="module")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkedCli]:
    folder = tmp_path_factory.mktemp("forked")
    runner = ForkedCli(Cli(folder), folder)
    yield runner
    runner.close()


@pytest.fixture
def agent(forks: ForkedCli, backend: Backend) -> Agent:
    return Agent(forks, backend.env)


@REDIS
def test_the_program_as_it_is_installed(world: World, cli: Cli, backend: Backend) -> None:
    """The journeys below share their imports; this one starts the program for every step."""
    agent = Agent(cli, backend.env)
    found = agent.json(SEARCH, "search", "DEL", "BLR", "--date", DAY.date().isoformat())
    identifier = found["content"][0]["flightIdentifier"]
    locator = agent.json(BOOKED, "book", identifier, "--user", "asha")["bookingId"]
    assert agent.json(CHANGED, "confirm", locator)["status"] == "CONFIRMED"
    agent.refused(2, "VALIDATION_ERROR", "release", locator)
    assert agent.json(CHANGED, "release", locator, "--yes")["status"] == "CANCELLED"
    assert agent.json(PROCESSED, "payments", "process")["refunded"] == 0  # counter money goes back by hand
    assert agent("bookings", "list", "-q").stdout == f"{locator}\n"


def test_from_search_to_refund(world: World, agent: Agent) -> None:
    """The main journey, and the shape of every document on the way."""
    day = DAY.date().isoformat()
    found = agent.json(SEARCH, "search", "del", "blr", "--date", day, "--seats", "2")
    assert [itinerary["flightIdentifier"] for itinerary in found["content"]] == [TWO_LEGS]
    assert {key: found[key] for key in ("page", "size", "totalElements", "totalPages", "first", "last")} == {
        "page": 0, "size": 20, "totalElements": 1, "totalPages": 1, "first": True, "last": True,
    }  # fmt: skip
    [itinerary] = found["content"]
    assert (itinerary["type"], itinerary["hops"], itinerary["price"]) == ("COMPUTED", 2, "2000.00")
    assert itinerary["durationMinutes"] == 360
    assert itinerary["departureTime"] == f"{day}T11:30:00+05:30"

    booking = agent.json(BOOKED, "book", TWO_LEGS.lower(), "--user", "asha", "--seats", "2", "--idempotency-key", "k1")
    assert booking["totalPrice"] == "4000.00"
    assert (booking["status"], booking["flightIds"], booking["replayed"]) == ("PENDING", ["F1", "F2"], False)
    assert (booking["flightIdentifier"], booking["flightType"]) == (TWO_LEGS, "COMPUTED")
    again = agent.json(BOOKED, "book", TWO_LEGS, "--user", "asha", "--seats", "2", "--idempotency-key", "k1")
    assert again == booking | {"replayed": True}
    mismatch = agent.refused(
        10, "IDEMPOTENCY_MISMATCH", "book", "F1", "--user", "asha", "--seats", "2", "--idempotency-key", "k1"
    )
    assert mismatch["details"]["idempotencyKey"] == "k1"

    held = agent.json(SEATS, "flights", "seats", "f1")
    assert (held["heldSeats"], held["confirmedSeats"], held["availableSeats"]) == (2, 0, 7)
    assert held["cachedSeats"] == (7 if world.backend.redis_url else None)
    locator = booking["bookingId"]
    shown = agent.json(LISTED, "bookings", "show", locator.lower())
    assert shown["status"] == "PENDING"
    requested = agent.json(PAYMENT_SHOWN, "payments", "show", booking["paymentId"])
    assert (requested["status"], requested["amount"]) == ("REQUESTED", "4000.00")

    confirmed = agent.json(CHANGED, "confirm", locator, "--actor", "counter-3")
    assert (confirmed["status"], confirmed["changed"], confirmed["failureReason"]) == ("CONFIRMED", True, None)
    assert agent.json(CHANGED, "confirm", locator)["changed"] is False
    unsure = agent.refused(2, "VALIDATION_ERROR", "release", locator)
    assert "--yes" in unsure["hint"]
    released = agent.json(CHANGED, "release", locator, "--reason", "changed plans", "--yes")
    assert (released["status"], released["changed"]) == ("CANCELLED", True)
    assert released["failureReason"] == "changed plans"
    assert agent.json(CHANGED, "release", locator)["changed"] is False
    agent.refused(6, "INVALID_STATE", "confirm", locator)

    history = agent.json(page_of(EVENT), "bookings", "history", locator)["content"]
    moves = [(event["fromStatus"], event["toStatus"]) for event in history]
    assert moves == [(None, "PENDING"), ("PENDING", "CONFIRMED"), ("CONFIRMED", "CANCELLED")]
    assert history[1]["actor"] == "counter-3"
    owed = agent.json(page_of(PAYMENT_SHOWN), "payments", "list", "--status", "refund_due")
    assert [payment["paymentId"] for payment in owed["content"]] == [booking["paymentId"]]
    refunded = agent.json(PAYMENT_SHOWN | {"changed": bool}, "payments", "refund", booking["paymentId"])
    assert (refunded["status"], refunded["changed"], refunded["source"]) == ("REFUNDED", True, "AGENT")
    refunded = agent.json(PAYMENT_SHOWN | {"changed": bool}, "payments", "refund", booking["paymentId"])
    assert refunded["changed"] is False
    assert world.available("F1", "F2") == [9, 9]


def test_payments_and_sweeps(world: World, agent: Agent) -> None:
    first = agent.json(BOOKED, "book", "F1", "--user", "u")["bookingId"]
    second, third, lapsed = (world.booked(user=name) for name in ("v", "w", "x"))
    processed = agent.json(PROCESSED, "payments", "process", "--booking", first, "--outcome", "failure")
    assert (processed["claimed"], processed["failed"]) == (1, 1)
    assert agent.json(LISTED, "bookings", "show", first)["status"] == "FAILED"

    payment = world.payment(second)
    called = agent.json(CALLBACK, "payments", "callback", second, "--status", "success")
    assert called == {
        "paymentId": payment, "bookingId": second, "paymentStatus": "SUCCESS",
        "bookingStatus": "CONFIRMED", "changed": True,
    }  # fmt: skip
    assert agent.json(CALLBACK, "payments", "callback", second, "--status", "SUCCESS")["changed"] is False
    other = agent.json(
        CALLBACK, "payments", "callback", second, "--status", "SUCCESS", "--payment", "gw-991", "--amount", "1000",
    )  # fmt: skip
    assert (other["paymentStatus"], other["bookingStatus"], other["changed"]) == ("REFUND_DUE", "CONFIRMED", True)
    agent.refused(2, "VALIDATION_ERROR", "payments", "callback", third, "--status", "SUCCESS", "--payment", "gw-991")
    agent.refused(6, "INVALID_STATE", "payments", "refund", payment)

    world.lapse(lapsed)
    tried = agent.json(SWEPT, "sweep", "--dry-run")
    assert (tried["expiredBookings"], tried["seatsReleased"], tried["flights"]) == (1, 1, 1)
    assert world.status(lapsed) == "PENDING"
    swept = agent.json(SWEPT, "sweep")
    assert swept == tried | {"tookMs": swept["tookMs"]}
    assert agent.json(SWEPT, "sweep")["expiredBookings"] == 0
    quiet = agent("sweep")
    assert (quiet.stdout, quiet.stderr) == ("", "")
    agent.refused(6, "INVALID_STATE", "release", lapsed)
    processed = agent.json(PROCESSED, "payments", "process", "--all")
    assert (processed["claimed"], processed["succeeded"], processed["refunded"]) == (1, 1, 1)
    assert world.paid(second) == ["REFUNDED", "SUCCESS"]
    assert world.status(third) == "CONFIRMED"


@TWO_KINDS
def test_errors_and_their_exit_codes(world: World, agent: Agent) -> None:
    world.flight("LAST", seats=1)
    gone, full = world.expired("LAST"), world.booked("LAST")
    agent.refused(3, "INVALID_FLIGHT", "book", "NOPE", "--user", "u")
    agent.refused(3, "INVALID_FLIGHT", "book", "CF_DEL_BLR_F1_F3", "--user", "u")
    agent.refused(3, "INVALID_FLIGHT", "flights", "show", "NOPE")
    agent.refused(3, "BOOKING_NOT_FOUND", "bookings", "show", "QQQQQQ")
    agent.refused(3, "PAYMENT_NOT_FOUND", "payments", "show", "pay-none")
    sold_out = agent.refused(5, "NO_SEATS_AVAILABLE", "book", "LAST", "--user", "u", "--idempotency-key", "k9")
    assert sold_out["retryable"] is False
    assert sold_out["details"]["idempotencyKey"] == "k9"
    agent.refused(6, "HOLD_EXPIRED", "confirm", gone)
    agent.refused(2, "UNKNOWN_AIRPORT", "search", "DEL", "QQQ", "--date", "today")
    agent.refused(2, "VALIDATION_ERROR", "book", "F1", "--user", "u", "--seats", "10")
    agent.refused(2, "USAGE", "book", "F1")
    agent.refused(4, "ENVIRONMENT_PROTECTED", "seed", FLIGHTCTL_ENVIRONMENT="production")
    plain = agent("book", "LAST", "--user", "u", check=5)
    assert plain.stdout == ""
    assert len(plain.stderr.splitlines()) == 1
    assert plain.stderr.startswith("error: ")
    assert world.status(full) == "PENDING"
    assert world.one("SELECT COUNT(*) FROM bookings") == 2


@TWO_KINDS
def test_flights_of_an_operator(world: World, agent: Agent) -> None:
    day = DAY.date().isoformat()
    schedule = ("--departure", f"{day}T18:00", "--arrival", f"{day}T20:15", "--price", "5400.5", "--seats", "3")
    added = agent.json(FLIGHT_CHANGE, "flights", "add", "6E999", "--source", "DEL", "--destination", "BOM", *schedule)
    flight = f"6E999-{day.replace('-', '')}"
    assert (added["flightId"], added["price"], added["changed"]) == (flight, "5400.50", True)
    assert added["departureTime"] == f"{day}T18:00:00+05:30"
    again = agent.json(FLIGHT_CHANGE, "flights", "add", "6E999", "--source", "DEL", "--destination", "BOM", *schedule)
    assert again["changed"] is False

    booking = world.confirmed(flight)
    updated = agent.json(FLIGHT_CHANGE, "flights", "update", flight, "--price", "99", "--seats", "5")
    assert (updated["price"], updated["totalSeats"], updated["availableSeats"]) == ("99.00", 5, 4)
    agent.refused(2, "VALIDATION_ERROR", "flights", "update", flight)
    agent.refused(2, "VALIDATION_ERROR", "flights", "cancel", flight)

    computed = agent("flights", "show", TWO_LEGS.lower(), "-o", "json").json()
    assert (computed["flightIds"], computed["totalPrice"]) == (["F1", "F2"], "2000.00")
    matches(computed["legs"], [FLIGHT])
    assert agent.json(FLIGHT, "flights", "show", flight.lower())["availableSeats"] == 4

    cancelled = agent.json(FLIGHT_CHANGE, "flights", "cancel", flight, "--yes", "--reason", "fog")
    assert (cancelled["status"], cancelled["bookings"], cancelled["refundsDue"]) == ("CANCELLED", [booking], "5400.50")
    assert agent.json(FLIGHT_CHANGE, "flights", "cancel", flight, "--yes")["changed"] is False
    agent.refused(3, "INVALID_FLIGHT", "book", flight, "--user", "u")
    listed = agent.json(page_of(FLIGHT), "flights", "list", "--status", "cancelled", "--source", "DEL", "--date", day)
    assert [one["flightId"] for one in listed["content"]] == [flight]
    found = agent.json(SEARCH, "search", "DEL", "BOM", "--date", day)
    assert [one["flightIdentifier"] for one in found["content"]] == ["F1"]
    assert world.status(booking) == "CANCELLED"


@EMBEDDED
def test_forms_of_output(world: World, agent: Agent) -> None:
    """Ids alone, CSV, and a table for programs."""
    bookings = [world.booked(user=f"u{n}") for n in range(3)]
    newest_first = bookings[::-1]
    assert agent("bookings", "list", "-q").stdout.split() == newest_first
    assert agent("bookings", "list", "-q", "-o", "json").stdout.split() == newest_first
    document = agent.json(page_of(LISTED), "bookings", "list", "--size", "2")
    assert [one["bookingId"] for one in document["content"]] == newest_first[:2]
    assert (document["page"], document["size"], document["totalElements"]) == (0, 2, 3)
    document = agent.json(page_of(LISTED), "bookings", "list", "--size", "2", "--page", "1")
    assert [one["bookingId"] for one in document["content"]] == newest_first[2:]
    assert agent.json(page_of(LISTED), "bookings", "list", "--page", "7")["content"] == []

    rows = list(csv.DictReader(io.StringIO(agent("bookings", "list", "-o", "csv").stdout)))
    assert [row["bookingId"] for row in rows] == newest_first
    assert list(rows[0]) == list(LISTED)
    lines = agent("bookings", "list", TERM="xterm-256color", COLUMNS="40").stdout.splitlines()
    assert [line.split("\t")[0] for line in lines] == ["bookingId", *newest_first]
    assert lines[0].split("\t") == list(LISTED)
    assert {line.count("\t") for line in lines} == {len(LISTED) - 1}
    assert "\x1b" not in "".join(lines)
    assert agent("search", "DEL", "BLR", "--date", DAY.date().isoformat(), "-q").stdout == f"{TWO_LEGS}\n"
    assert agent("book", "F1", "--user", "q", "-q").stdout.strip() in agent("bookings", "list", "-q").stdout
    by_variable = agent("bookings", "list", "--user", "u1", FLIGHTCTL_OUTPUT="json").json()
    assert [one["bookingId"] for one in by_variable["content"]] == [bookings[1]]
    assert agent("bookings", "list", "-o", "csv", FLIGHTCTL_OUTPUT="json").stdout.startswith("bookingId,")
    assert agent("search", "DEL", "LHR", "--date", "today", "-o", "csv").stdout.count("\n") == 1
    empty = agent.json(SEARCH, "search", "DEL", "LHR", "--date", "2020-01-01")
    assert (empty["content"], empty["totalPages"], empty["first"], empty["last"]) == ([], 0, True, True)


@EMBEDDED
def test_seed_audit_doctor_and_settings(agent: Agent) -> None:
    seeded = agent.json(SEEDED, "seed", "--days", "2", "--start", "tomorrow")
    assert seeded["added"] == seeded["flights"] > 100
    assert seeded["airports"] == 7
    again = agent.json(SEEDED, "seed", "--days", "2", "--start", "tomorrow")
    assert again == seeded | {"added": 0}
    agent.refused(2, "VALIDATION_ERROR", "seed", "--reset")
    audited = agent.json({"flightsChecked": int, "bookingsChecked": int, "violations": list, "repaired": list}, "audit")
    assert audited["flightsChecked"] == seeded["flights"]
    current = agent.json({"revision": str, "head": str, "upToDate": bool}, "db", "current")
    assert current["upToDate"] is True
    assert agent.json({"revision": str, "head": str, "upToDate": bool}, "db", "upgrade") == current
    checks = agent.json(
        {"healthy": bool, "checks": [{"name": str, "state": str, "detail": str, "hint": OPTIONAL}]}, "doctor"
    )
    assert checks["healthy"] is True
    assert {check["name"] for check in checks["checks"]} >= {"configuration", "database", "schema", "sweep", "redis"}
    shown = agent(
        "config", "show", "-o", "json",
        FLIGHTCTL_DATABASE_URL="mysql+pymysql://joe:s3cret@db.example/f", FLIGHTCTL_REDIS_URL="redis://:hush@r:6379/0",
    )  # fmt: skip
    assert "s3cret" not in shown.stdout
    assert "hush" not in shown.stdout
    settings = {row["key"]: row for row in shown.json()["content"]}
    assert settings["database.url"]["source"] == "FLIGHTCTL_DATABASE_URL"
    assert settings["database.url"]["value"] == "mysql+pymysql://joe:***@db.example/f"
    assert settings["booking.hold"] == settings["booking.hold"] | {"value": "5m", "source": "default"}


# --- what is down ----------------------------------------------------------------------------------------------------


@REDIS
def test_redis_down(world: World, agent: Agent) -> None:
    """One line of warning, half a second at most, and the same answer."""
    day = DAY.date().isoformat()
    right = agent.json(SEARCH, "search", "DEL", "BLR", "--date", day)
    down = {"FLIGHTCTL_REDIS_URL": f"redis://127.0.0.1:{free_port()}/0"}
    result = agent("search", "DEL", "BLR", "--date", day, "-o", "json", **down)
    assert result.json() == right
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("warning: ")
    booked = agent("book", "F1", "--user", "u", "-o", "json", **down)
    matches(booked.json(), BOOKED)
    assert len(booked.stderr.splitlines()) == 1
    doctor = agent("doctor", "-o", "json", **down)
    assert {check["name"]: check["state"] for check in doctor.json()["checks"]}["redis"] == "warning"
    world.redis.flushdb()
    agent.refused(7, "SERVICE_UNAVAILABLE", "routes", "precompute", "--date", day, FLIGHTCTL_REDIS_URL="")


@REDIS
def test_database_down(world: World, agent: Agent) -> None:
    day = DAY.date().isoformat()
    right = agent("search", "DEL", "BLR", "--date", day, "-o", "json")
    down = {"FLIGHTCTL_DATABASE_URL": f"mysql+pymysql://u:secret@127.0.0.1:{free_port()}/x"}
    alone = agent("search", "DEL", "BLR", "--date", day, "-o", "json", **down)
    assert alone.json() == right.json(), "Redis can answer this alone"
    for args in (
        ("search", "BOM", "BLR", "--date", day),
        ("book", "F1", "--user", "u"),
        ("bookings", "list"),
        ("sweep",),
        ("audit",),
    ):
        began = time.monotonic()
        error = agent.refused(7, "DATABASE_UNAVAILABLE", *args, **down)
        assert time.monotonic() - began < 5
        assert error["retryable"] is True
        assert "secret" not in str(error)
    doctor = agent("doctor", "-o", "json", check=7, **down)
    assert doctor.json()["healthy"] is False
    assert doctor.error["code"] == "SERVICE_UNAVAILABLE"


def test_a_database_without_a_schema(mysql_url: str, forks: ForkedCli) -> None:
    agent = Agent(forks, {"FLIGHTCTL_DATABASE_URL": mysql_url})
    error = agent.refused(7, "SCHEMA_MISMATCH", "bookings", "list")
    assert "flightctl db upgrade" in error["hint"]
    current = agent("db", "current", "-o", "json").json()
    assert (current["revision"], current["upToDate"]) == (None, False)
    assert agent("db", "upgrade", "-o", "json").json()["upToDate"] is True
    assert agent("bookings", "list", "-q").stdout == ""


# --- one at a time, many at once -------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["sqlite", "mysql"], indirect=True)
def test_one_key_many_processes(world: World, agent: Agent, cli: Cli) -> None:
    started = [
        cli.start("book", "F1", "--user", "u", "--idempotency-key", "same", "-o", "json", env=agent.env)
        for _ in range(4)
    ]
    answers = [cli.finish(process).json() for process in started]
    assert len({answer["bookingId"] for answer in answers}) == 1
    assert sorted(answer["replayed"] for answer in answers) == [False, True, True, True]
    assert world.available("F1") == [8]


@TWO_KINDS
def test_expired_money_finds_its_seats(world: World, agent: Agent) -> None:
    """Confirmed at the counter after the hold was swept, and while it had only lapsed."""
    swept, lapsed = world.expired(), world.booked()
    world.lapse(lapsed)
    assert agent.json(CHANGED, "confirm", swept)["status"] == "CONFIRMED"
    assert agent.json(CHANGED, "confirm", lapsed)["status"] == "CONFIRMED"
    assert world.available("F1") == [7]
    assert violations(world.execute) == []


@TWO_KINDS
def test_a_departed_flight_is_refused(world: World, agent: Agent) -> None:
    world.flight("GONE", departs=datetime.now(UTC) - timedelta(minutes=1))
    world.flight("SOON", departs=datetime.now(UTC) + timedelta(seconds=90), lasting=1)
    agent.refused(3, "INVALID_FLIGHT", "book", "GONE", "--user", "u")
    soon = agent.json(BOOKED, "book", "SOON", "--user", "u", "--ttl", "1h")
    left = datetime.fromisoformat(soon["expiresAt"]) - datetime.now(UTC)
    assert left < timedelta(seconds=91), "a hold never outlives the departure"
