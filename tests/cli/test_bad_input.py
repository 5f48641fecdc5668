"""What nobody should type: one clear line, the right exit code, nothing changed, never a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders import DAY, World
from tests.cli.forked import ForkedCli
from tests.conftest import Backend, Cli, Result

TODAY = DAY.date().isoformat()
SEARCH = ("search", "DEL", "BLR", "--date", TODAY)
BOOK = ("book", "F1", "--user", "u")
EMBEDDED = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
DATABASES = pytest.mark.parametrize("backend", ["sqlite", "mysql"], indirect=True)

INJECTIONS = (
    "'; DROP TABLE bookings; --",
    "' OR '1'='1",
    '" OR ""="',
    "1); DELETE FROM flights; --",
    "%' UNION SELECT 1,2,3 --",
    "\\'; DROP TABLE flights; #",
    "%s %(id)s :id {0} ${HOME} $(id) `id`",
)
STRANGE = ("\x1b[31mred\x07", "line\nbreak\r\nmore", "✈️🧳", "ＤＥＬ", "e\u0301", "\u202eLED", " ", "-", "--", "\t")


@pytest.fixture(scope="module")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkedCli]:
    folder = tmp_path_factory.mktemp("forked")
    runner = ForkedCli(Cli(folder), folder)
    yield runner
    runner.close()


@pytest.fixture
def world(backend: Backend) -> Iterator[World]:
    made = World(backend)
    made.line()
    yield made
    faults = made.faults()
    made.close()
    assert faults == []


class Clumsy:
    """Runs what must be refused: as a script reads it, and each kind once as a person does."""

    def __init__(self, cli: ForkedCli, world: World) -> None:
        self.cli = cli
        self.world = world
        self.env = world.backend.env
        self._read_by_people: set[tuple[str, str]] = set()

    def __call__(self, exit_code: int, code: str, *args: str, **variables: str) -> Result:
        before = self.world.picture()
        env = self.env | variables
        result = self.cli(*args, env=env | {"FLIGHTCTL_OUTPUT": "json"}, check=exit_code)
        assert result.stdout == ""
        assert result.error["code"] == code, result
        assert result.error["retryable"] is False
        assert self.one_line(result)
        assert self.world.picture() == before
        if (code, args[0]) in self._read_by_people:
            return result
        self._read_by_people.add((code, args[0]))
        plain = self.cli(*args, env=env, check=exit_code)
        assert plain.stdout == ""
        assert self.one_line(plain)
        assert plain.stderr.startswith("error: ")
        return plain

    @staticmethod
    def one_line(result: Result) -> bool:
        text = result.stderr.removesuffix("\n")
        return bool(text) and text.isprintable() and len(text) < 5000


@pytest.fixture
def clumsy(forks: ForkedCli, world: World) -> Clumsy:
    return Clumsy(forks, world)


@EMBEDDED
def test_airports(clumsy: Clumsy) -> None:
    assert "did you mean" in clumsy(2, "UNKNOWN_AIRPORT", "search", "DEK", "BLR", "--date", TODAY).stderr.lower()
    for name in ("QQQ", "", "D", "DELHI", "D3L", "' OR 1=1", "✈️✈️✈️", "DE\nL", "x" * 10_000):
        clumsy(2, "UNKNOWN_AIRPORT", "search", name, "BLR", "--date", TODAY)
        clumsy(2, "UNKNOWN_AIRPORT", "flights", "list", "--destination", name)
    clumsy(2, "VALIDATION_ERROR", "search", "DEL", "del", "--date", TODAY)


@EMBEDDED
def test_numbers(clumsy: Clumsy) -> None:
    for value in ("0", "10", "-1", "abc", "", "1.5", "1e3", "٣", "99999999999999999999", "0x1", " ", "NaN"):
        clumsy(2, "VALIDATION_ERROR", *BOOK, "--seats", value)
        clumsy(2, "VALIDATION_ERROR", *SEARCH, "--seats", value)
    for option, values in {
        "--page": ("-1", "x", "99999999999999999999", "9999999999"),
        "--size": ("0", "-5", "101", "x"),
        "--max-hops": ("0", "4", "two"),
        "--sort": ("cheap", "", "price;drop"),
    }.items():
        for value in values:
            clumsy(2, "VALIDATION_ERROR", *SEARCH, option, value)
    for value in ("0", "8", "-3", "x", "1.5"):
        clumsy(2, "VALIDATION_ERROR", *SEARCH, "--flex", value)
    for option in (("--sort", "departure"), ("--desc",), ("--page", "1"), ("--size", "5")):
        clumsy(2, "VALIDATION_ERROR", *SEARCH, "--flex", "3", *option)
    for option, value in (("--size", "0"), ("--size", "1001"), ("--page", "-1"), ("--status", "LOST")):
        clumsy(2, "VALIDATION_ERROR", "bookings", "list", option, value)
        clumsy(2, "VALIDATION_ERROR", "payments", "list", option, value)
    for value in ("0", "-1", "10001", "all"):
        clumsy(2, "VALIDATION_ERROR", "sweep", "--batch-size", value)
    for value in ("0", "367", "-1", "many"):
        clumsy(2, "VALIDATION_ERROR", "seed", "--days", value)
    for args in (("--days", "0"), ("--top", "0"), ("--days", "400"), ("--date", "never")):
        clumsy(2, "VALIDATION_ERROR", "routes", "precompute", *args)
    for args in (("--days", "0"), ("--days", "400"), ("--date", "never"), ("--date", "9998-12-31")):
        clumsy(2, "VALIDATION_ERROR", "routes", "pack", *args)


@EMBEDDED
def test_filters(clumsy: Clumsy) -> None:
    for option, values in {
        "--max-price": ("", "x", "-1", "1.001", "1,000", "NaN", "1_0", "٣"),
        "--max-duration": ("", "0m", "30s", "8", "h", "8h30m20s", "-1h", "8h-30m", "٣h"),
        "--depart-between": (
            "",
            "06:00",
            "6-10",
            "24:00-02:00",
            "06:60-07:00",
            "06:00-24:01",
            "a-b",
            "06:00-10:00-12:00",
        ),
        "--carrier": ("", "6", "66", "INDI", "6E,", "6E;AI", "(6E)", "✈️"),
        "--via": ("DEL", "blr", "BOM,HYD,MAA"),
        "--avoid": ("DEL", "BOM,BLR"),
    }.items():
        for value in values:
            clumsy(2, "VALIDATION_ERROR", *SEARCH, option, value)
            clumsy(2, "VALIDATION_ERROR", *SEARCH, option, value, "--flex", "1")
    for option in ("--via", "--avoid"):
        for value in ("", "QQQ", "BOM,,HYD", "BOM HYD", "' OR 1=1", "x" * 10_000):
            clumsy(2, "UNKNOWN_AIRPORT", *SEARCH, option, value)
    assert "did you mean" in clumsy(2, "UNKNOWN_AIRPORT", *SEARCH, "--via", "DEK").stderr.lower()


@EMBEDDED
def test_dates(clumsy: Clumsy) -> None:
    for value in (
        "2026-02-30", "2025-02-29", "tomorow", "", " ", "+999999d", "+d", "-3d", "3d", "2026-1-1", "01-12-2026",
        "2026-12-01T10:00", "20261201", "0000-00-00", "9999-12-32", "today'--", "２０２６-01-01", "+1w", "x" * 10_000,
    ):  # fmt: skip
        clumsy(2, "VALIDATION_ERROR", "search", "DEL", "BLR", "--date", value)
    for value in ("2026-13-01", "soon"):
        clumsy(2, "VALIDATION_ERROR", "flights", "list", "--date", value)
        clumsy(2, "VALIDATION_ERROR", "seed", "--start", value)


@EMBEDDED
def test_dates_at_the_ends_of_the_calendar(clumsy: Clumsy) -> None:
    """Odd, but dates: nothing flies, or one clear line."""
    for value in ("0001-01-01", "9999-12-31", "1970-01-01", "+9999d"):
        found = clumsy.cli("search", "DEL", "BLR", "--date", value, "-o", "json", env=clumsy.env)
        assert found.json()["totalElements"] == 0


@EMBEDDED
def test_durations(clumsy: Clumsy) -> None:
    for value in ("0s", "25h", "5", "5 m", "-5m", "", "five", "1e9s", "999999999999d", "5m5s", "٥m"):
        clumsy(2, "VALIDATION_ERROR", *BOOK, "--ttl", value)
    clumsy(2, "VALIDATION_ERROR", *BOOK, "--wait", "--timeout", "soon")


@EMBEDDED
def test_identifiers(clumsy: Clumsy) -> None:
    for value in (
        "CF_", "CF", "CF_DEL_BLR", "CF_DEL_BLR_F1", "CF_DEL_BLR_F1_F3", "CF_DEL_BLR_F2_F1", "CF_BLR_DEL_F1_F2",
        "CF_DEL_BLR_F1_F2_F3_F4", "CF_DEL_DEL_F1_F1", "CF__BLR_F1_F2", "F1_F2", "XX_DEL_BLR_F1_F2", "CF_DEL_BLR_F1_NOPE",
        "NOPE", "F1;", "%", "F_1", *INJECTIONS,
    ):  # fmt: skip
        clumsy(3, "INVALID_FLIGHT", "book", value, "--user", "u")
    for value in ("", "  ", "F" * 10_000, "CF_DEL_BLR" + "_F1" * 1000):
        clumsy(2, "VALIDATION_ERROR", "book", value, "--user", "u")
    for value in ("NOPE", *INJECTIONS):
        for command in ("show", "seats"):
            clumsy(3, "INVALID_FLIGHT", "flights", command, value)


@EMBEDDED
def test_users_keys_and_actors(clumsy: Clumsy) -> None:
    for user in ("", "   ", "u" * 65, "u" * 10_000, "a\nb", "a\x1b[2Jb", "\u202egnp", "a\tb"):
        clumsy(2, "VALIDATION_ERROR", "book", "F1", "--user", user)
    for key in ("", "k" * 129, "kéy", "a\nb", "✈️", "k" * 10_000):
        clumsy(2, "VALIDATION_ERROR", *BOOK, "--idempotency-key", key)
    for actor in ("", " ", "a" * 65, "a\nb", "\x1b[2J"):
        clumsy(2, "VALIDATION_ERROR", *BOOK, "--actor", actor)


@DATABASES
def test_text_that_looks_like_sql_is_text(clumsy: Clumsy) -> None:
    """Where any text is allowed it is kept as it is, on every back end."""
    env = clumsy.env
    texts = (*INJECTIONS, "✈️🧳", "Ünïcödé", "名前", "a|b", "=1+1", "null", "-h")
    for text in texts if clumsy.world.backend.is_sqlite else texts[:9:2]:
        user = text[:64]
        booked = clumsy.cli(
            "book", "F1", f"--user={user}", "--actor", "x", "--idempotency-key", "k" + text.encode().hex()[:100],
            "-o", "json", env=env,
        ).json()  # fmt: skip
        assert booked["userId"] == user
        listed = clumsy.cli("bookings", "list", f"--user={user}", "-q", env=env)
        assert listed.stdout == f"{booked['bookingId']}\n"
        released = clumsy.cli(
            "release", booked["bookingId"], f"--reason={text}", f"--actor={user}", "-o", "json", env=env
        )
        assert released.json()["failureReason"] == " ".join(text.split())
        told = clumsy.cli("bookings", "history", booked["bookingId"], "-o", "json", env=env).json()["content"]
        assert told[-1]["actor"] == user
    assert clumsy.world.available("F1") == [9]


@DATABASES
def test_ids_that_are_no_ids(clumsy: Clumsy) -> None:
    for text in (*INJECTIONS[:3], "", "AAAAAAA", "✈️", "a\nb", "x" * 10_000):
        clumsy(3, "BOOKING_NOT_FOUND", "confirm", text)
        clumsy(3, "PAYMENT_NOT_FOUND", "payments", "show", text)
    for command in (("bookings", "show"), ("bookings", "history"), ("release",)):
        clumsy(3, "BOOKING_NOT_FOUND", *command, "' OR '1'='1")
    clumsy(3, "BOOKING_NOT_FOUND", "payments", "process", "--booking", "' OR '1'='1")
    clumsy(3, "BOOKING_NOT_FOUND", "payments", "callback", "' OR '1'='1", "--status", "SUCCESS")
    clumsy(3, "PAYMENT_NOT_FOUND", "payments", "refund", "' OR '1'='1")
    clumsy(3, "INVALID_FLIGHT", "flights", "cancel", "' OR '1'='1", "--yes")
    clumsy(3, "INVALID_FLIGHT", "flights", "update", "' OR '1'='1", "--price", "1")
    for text in INJECTIONS:
        found = clumsy.cli("bookings", "list", "--user", text, "--flight", text, "-o", "json", env=clumsy.env)
        assert found.json()["content"] == []


@EMBEDDED
def test_money(clumsy: Clumsy) -> None:
    booking = clumsy.world.booked()
    callback = ("payments", "callback", booking, "--status", "SUCCESS", "--payment", "new")
    for amount in (
        "-1",
        "1.005",
        "abc",
        "",
        "1e400",
        "NaN",
        "Infinity",
        "99999999999.00",
        "1,000",
        "1_000",
        "٣",
        "9" * 10_000,
    ):
        clumsy(2, "VALIDATION_ERROR", *callback, "--amount", amount)
        clumsy(2, "VALIDATION_ERROR", "flights", "update", "F1", "--price", amount)
    clumsy(2, "VALIDATION_ERROR", "payments", "callback", booking, "--status", "MAYBE")
    clumsy(2, "VALIDATION_ERROR", "payments", "callback", booking, "--status", "SUCCESS", "--amount", "1")
    for payment in ("", "p" * 65, "a\nb"):
        clumsy(2, "VALIDATION_ERROR", *callback[:-1], payment)
    clumsy(2, "VALIDATION_ERROR", "payments", "process", "--outcome", "maybe")


@EMBEDDED
def test_flights_that_cannot_be(clumsy: Clumsy) -> None:
    good = {
        "--source": "DEL", "--destination": "BOM", "--departure": f"{TODAY}T10:00", "--arrival": f"{TODAY}T12:00",
        "--price": "100", "--seats": "10",
    }  # fmt: skip
    bad = {
        "--source": ("QQQ",),
        "--destination": ("DEL", "QQQ"),
        "--departure": ("", "10:00", f"{TODAY}T25:00", f"{TODAY}T10:00+05:30", f"{TODAY}T13:00", "2026-02-30T10:00"),
        "--arrival": ("later", f"{TODAY}T09:00"),
        "--price": ("-1", "free"),
        "--seats": ("0", "-1", "1000000", "x"),
    }
    for option, values in bad.items():
        for value in values:
            args = [word for pair in (good | {option: value}).items() for word in pair]
            code = "UNKNOWN_AIRPORT" if value == "QQQ" else "VALIDATION_ERROR"
            clumsy(2, code, "flights", "add", "6E1", *args)
    rest = [word for pair in good.items() for word in pair]
    for flight in ("", "6E", "203", "6E_203", "'; DROP", "✈️1", "6E" + "9" * 100):
        clumsy(2, "VALIDATION_ERROR", "flights", "add", flight, *rest)


@EMBEDDED
def test_options_that_do_not_go_together(clumsy: Clumsy, tmp_path: Path) -> None:
    schedule = tmp_path / "s.csv"
    schedule.write_text("carrier\n")
    clumsy(2, "VALIDATION_ERROR", "seed", "--reset")
    clumsy(2, "VALIDATION_ERROR", "seed", "--dataset", "mars")
    clumsy(2, "VALIDATION_ERROR", "seed", "--file", str(schedule))
    clumsy(2, "VALIDATION_ERROR", "seed", "--file", str(tmp_path / "missing.csv"))
    clumsy(2, "VALIDATION_ERROR", "seed", "--file", str(tmp_path))
    for args in (
        ("--no-sweep", "--no-payments"), ("--sweep-interval", "0s"), ("--sweep-interval", "soon"),
        ("--sweep-interval", "2h"), ("--metrics-port", "0"), ("--metrics-port", "70000"),
    ):  # fmt: skip
        clumsy(2, "VALIDATION_ERROR", "daemon", *args)
    for args in (
        ("book",), ("book", "F1"), ("book", "F1", "F2", "--user", "u"), ("search", "DEL"), ("search", "DEL", "BLR"),
        (*SEARCH, "--nope"), ("bookings", "show"), ("bookings", "lits"), ("bok",), (*BOOK, "--seats"),
        ("audit", "extra"), ("payments", "callback", "AAAAAA"),
    ):  # fmt: skip
        clumsy(2, "USAGE", *args)
    for text in STRANGE:
        result = clumsy.cli(text, "x", env=clumsy.env, check=2)
        assert result.stdout == ""
        assert "\x1b" not in result.stderr


@EMBEDDED
def test_settings_in_the_environment(clumsy: Clumsy) -> None:
    for name, value in (
        ("DATABASE_URL", "mysql://"), ("DATABASE_URL", "postgres://u:hush@h/d"), ("DATABASE_URL", "nonsense"),
        ("DATABASE_URL", "mysql+pymysql://u:hush@h:abc/d"), ("DATABASE_URL", "mysql+pymysql://u:hush@h:99999/d"),
        ("DATABASE_URL", "mysql://u:hush@h/d?foo=bar"), ("DATABASE_URL", "mysql://u:hush@h/d?charset=latin1"),
        ("DATABASE_URL", "sqlite://"), ("DATABASE_URL", "://"), ("REDIS_URL", "redis://:hush@localhost:abc/0"),
        ("REDIS_URL", "redis://:hush@h:99999/0"), ("REDIS_URL", "http://localhost"), ("REDIS_URL", "redis://"),
        ("REDIS_URL", "redis://:hush@h/zero"), ("LOCKING", "none"), ("BOOKING_HOLD", "0s"), ("BOOKING_HOLD", "5"),
        ("BOOKING_MAX_SEATS", "many"), ("GATEWAY_SUCCESS", "2"), ("GATEWAY_SUCCESS", "NaN"), ("GATEWAY_SUCCESS", "0"),
        ("SEARCH_MIN_CONNECTION", "7h"), ("PAYMENTS_LEASE", "-1s"), ("CONFIG", "/nowhere/at/all.yaml"),
    ):  # fmt: skip
        refused = clumsy(2, "CONFIG_ERROR", *BOOK, **{f"FLIGHTCTL_{name}": value})
        assert "hush" not in refused.stderr
        assert name.lower().replace("_", "") in refused.stderr.lower().replace("_", "").replace(".", "") or name in {
            "CONFIG",
            "GATEWAY_SUCCESS",
        }


@EMBEDDED
def test_an_output_that_does_not_exist(clumsy: Clumsy) -> None:
    before = clumsy.world.picture()
    for args, variables in ((BOOK, {"FLIGHTCTL_OUTPUT": "xml"}), ((*BOOK, "-o", "xml"), {}), ((*BOOK, "-o", ""), {})):
        refused = clumsy.cli(*args, env=clumsy.env | variables, check=2)
        assert refused.stdout == ""
        assert len(refused.stderr.splitlines()) == 1
        assert "json" in refused.stderr
    assert clumsy.world.picture() == before


@EMBEDDED
def test_settings_in_files(clumsy: Clumsy, tmp_path: Path) -> None:
    file = tmp_path / "settings with blanks.yaml"
    for content, hint in (
        (b"booking: {hold: 5m", "not YAML"),
        (b"- a\n- b\n", "must hold settings"),
        (b"just text", "must hold settings"),
        (b"booking:\n  hodl: 5m\n", "booking.hold"),
        (b"bookings: 3\n", "unknown setting"),
        (b"booking:\n  hold: yes\n", "duration"),
        (b"booking: 5m\n", "unknown setting"),
        (b"environment: Prod\n", "write production"),
        (b"\xff\xfe\x00", ""),
        (b"a: &a [*a, *a]\n", ""),
        (b"? [x]\n: y\n", ""),
        (b"!!python/object/apply:os.system ['id']\n", "not YAML"),
        (b"booking:\n\thold: 5m\n", "not YAML"),
    ):
        file.write_bytes(content)
        refused = clumsy(2, "CONFIG_ERROR", *BOOK, "--config", str(file))
        assert hint.lower() in refused.stderr.lower()
        clumsy(2, "CONFIG_ERROR", *BOOK, FLIGHTCTL_CONFIG=str(file))
    clumsy(2, "CONFIG_ERROR", *BOOK, "--config", str(tmp_path))
    clumsy(2, "CONFIG_ERROR", *BOOK, "--config", str(tmp_path / "missing.yaml"))
    file.write_bytes(b"")
    assert clumsy.cli("config", "show", "--config", file, env=clumsy.env).code == 0


@EMBEDDED
def test_a_cyclic_or_deep_settings_file(clumsy: Clumsy, tmp_path: Path) -> None:
    file = tmp_path / "deep.yaml"
    for content in ("a: &a\n  b: *a\n", "{a: " * 3000 + "1" + "}" * 3000):
        file.write_text(content)
        clumsy(2, "CONFIG_ERROR", *BOOK, "--config", str(file))


@EMBEDDED
def test_arguments_that_are_not_text(clumsy: Clumsy, cli: Cli) -> None:
    """Bytes that are no UTF-8, straight from the operating system."""
    before = clumsy.world.picture()
    raw = b"\xff\xfe".decode("utf-8", "surrogateescape")
    assert cli("book", "F1", "--user", raw, "-o", "json", env=clumsy.env, check=2).error["code"] == "VALIDATION_ERROR"
    for args, code in (
        (("book", raw, "--user", "u"), 3),
        (("search", raw, "BLR", "--date", "today"), 2),
        (("bookings", "show", raw), 3),
        (("bookings", "list", "--user", raw), None),
        ((*BOOK, "--actor", raw), 2),
    ):
        result = clumsy.cli(*args, "-o", "json", env=clumsy.env, check=code)
        assert result.code == 0 or result.error["code"] != "INTERNAL_ERROR"
    assert clumsy.world.picture() == before
