"""The same record as JSON, CSV, a plain table, ids, and on a terminal."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import re
import select
import subprocess
import sys
import termios
import time
from typing import Any

import pytest

from flightctl.core.model.bookings import BookResult, ChangeResult
from flightctl.core.model.itineraries import SearchResult
from flightctl.core.model.operations import DoctorCheck, SweepResult
from flightctl.render import Output, print_record, print_rows
from flightctl.views import view_of
from flightctl.views.base import View, arrival, duration, printable
from flightctl.views.bookings import BOOKING, EVENT
from flightctl.views.flights import ITINERARY, search_document
from flightctl.views.payments import PAYMENT, REHEARSED
from tests.conftest import Cli

from . import samples

KINDS = pytest.mark.parametrize(
    ("view", "record"), samples.RECORDS, ids=[f"{type(record).__name__}{n}" for n, (_, record) in enumerate(samples.RECORDS)]
)  # fmt: skip
ZULU = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z")
OFFSET = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d")


def written(capfd: pytest.CaptureFixture[str]) -> str:
    out, err = capfd.readouterr()
    assert err == ""
    return out


@KINDS
def test_json(view: View, record: Any, capfd: pytest.CaptureFixture[str]) -> None:
    print_record(Output("json"), view, record)
    document = json.loads(written(capfd))
    for key, value in _leaves(document):
        assert re.fullmatch(r"[a-z][A-Za-z]*", key)
        if value is None:
            continue
        if key in {"departureTime", "arrivalTime"}:
            assert OFFSET.fullmatch(value)
        elif key.endswith("At") or key == "at":
            assert ZULU.fullmatch(value)
        elif key in {"price", "totalPrice", "amount", "refundsDue"}:
            assert re.fullmatch(r"\d+\.\d\d", value)


def _leaves(node: Any, key: str = "x") -> Any:
    if isinstance(node, dict):
        for name, inner in node.items():
            yield from _leaves(inner, name)
    elif isinstance(node, list):
        for inner in node:
            yield from _leaves(inner, key)
    else:
        yield key, node


@KINDS
def test_plain_table_and_csv_have_the_same_stable_columns(
    view: View, record: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    print_record(Output("table"), view, record)
    header, line = written(capfd).splitlines()
    assert header.split("\t") == list(view.columns)
    assert len(line.split("\t")) == len(view.columns)
    print_record(Output("csv"), view, record)
    text = written(capfd)
    assert "\r" not in text
    rows = list(csv.reader(io.StringIO(text)))
    assert rows[0] == list(view.columns)
    assert [" ".join(value.replace("\t", " ").splitlines()) for value in rows[1]] == line.split("\t")


def test_only_what_plays_tricks_on_a_terminal_is_shown_as_an_escape() -> None:
    assert printable("山田\u3000太郎 ക്ഷ\u200dമ") == "山田\u3000太郎 ക്ഷ\u200dമ"
    assert printable("a\u202eb\x1b[2J\u3000") == "a\\u202eb\\x1b[2J\u3000"


@KINDS
def test_an_empty_list_has_its_header(view: View, record: Any, capfd: pytest.CaptureFixture[str]) -> None:
    print_rows(Output("csv"), view, [], {})
    assert written(capfd) == ",".join(view.columns) + "\n"
    print_rows(Output("table"), view, [], {})
    assert written(capfd) == "\t".join(view.columns) + "\n"


@KINDS
def test_ids_only(view: View, record: Any, capfd: pytest.CaptureFixture[str]) -> None:
    for form in ("table", "json", "csv"):
        print_record(Output(form, quiet=True), view, record)
        text = written(capfd)
        fields = view.fields(record)
        expected = next((f"{fields[key]}\n" for key in view.id_keys if fields[key]), "")
        assert text == expected


LISTED = {
    "dict",
    "Itinerary",
    "BookingEvent",
    "Violation",
    "DoctorCheck",
    "FlightDifference",
    "ExportedRow",
    "FareDay",
    "ManifestEntry",
    "Sales",
    "Grant",
    "LatePayment",
    "Reaccommodated",
}
"""Records that commands show in lists only, or that are none."""


def test_every_result_of_a_command_has_its_view() -> None:
    for view, record in samples.RECORDS:
        if type(record).__name__ not in LISTED:
            assert view_of(record) is view


def test_the_keys_of_the_specification() -> None:
    book = "bookingId userId flightType flightIdentifier noOfSeats totalPrice status flightIds expiresAt createdAt paymentId"
    for record, keys in (
        (BookResult(samples.BOOKING, True), f"{book} idempotencyKey replayed"),
        (ChangeResult(samples.BOOKING, True), f"{book} idempotencyKey replayed changed failureReason"),
        (SweepResult(), "expiredBookings expiredReservations seatsReleased flights tookMs"),
        (samples.RECORDS[15][1], "flights added airports from to skipped"),
        (samples.RECORDS[6][1], "paymentId bookingId paymentStatus bookingStatus changed"),
    ):
        assert list(view_of(record).fields(record)) == keys.split()
    itinerary = (
        "flightIdentifier type price durationMinutes availableSeats departureTime arrivalTime source destination"
    )
    assert list(ITINERARY.fields(samples.ITINERARY)) == [*itinerary.split(), "hops", "legs"]


def test_flight_times_have_the_offsets_of_their_airports() -> None:
    fields = ITINERARY.fields(samples.ITINERARY)
    assert fields["departureTime"] == "2026-12-01T06:10:00+05:30"
    assert fields["arrivalTime"] == "2026-12-02T00:05:00+04:00"
    assert fields["price"] == "10801.00"
    assert arrival(fields) == "00:05 +1"
    assert duration(fields["durationMinutes"]) == "19h 25m"


@pytest.mark.parametrize(
    ("page", "total", "expected"),
    [(0, 0, (0, True, True)), (3, 0, (0, True, True)), (0, 1, (1, True, True)), (0, 21, (2, True, False)),
     (1, 21, (2, False, True)), (1, 60, (3, False, False)), (7, 21, (2, False, True))],
)  # fmt: skip
def test_pages_of_a_search(page: int, total: int, expected: tuple[int, bool, bool]) -> None:
    document = search_document(SearchResult((), page, 20, total))
    assert (document["totalPages"], document["first"], document["last"]) == expected
    assert list(document) == ["content", "page", "size", "totalElements", "totalPages", "first", "last"]


def test_utf8_is_not_escaped_and_control_characters_do_no_harm(capfd: pytest.CaptureFixture[str]) -> None:
    from dataclasses import replace

    nasty = replace(samples.BOOKING, user_id="ü\x1b[31m\udcff")
    print_record(Output("json"), BOOKING, nasty)
    text = written(capfd)
    assert "ü" in text
    assert "\x1b" not in text
    print_record(Output("table"), BOOKING, nasty)
    assert "\x1b" not in written(capfd)


# --- streams


def _program(form: str, count: int) -> list[str]:
    code = f"""
import os
import sys
from flightctl.core.errors import FlightctlError
from flightctl.render import Output, print_rows
from flightctl.views.bookings import BOOKING
from tests.cli.samples import BOOKING as RECORD
rows = [RECORD] * {count}
try:
    print_rows(Output({form!r}, color="NO_COLOR" not in os.environ), BOOKING, rows, {{"content": [BOOKING.fields(row) for row in rows]}})
except FlightctlError as error:
    print(error.message, file=sys.stderr)
    sys.exit(1)
sys.exit(9)
"""
    return [sys.executable, "-c", code]


@pytest.mark.parametrize("form", ["json", "csv", "table"])
def test_a_reader_that_leaves_early_changes_nothing(form: str) -> None:
    with subprocess.Popen(_program(form, 5000), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 9


def test_a_full_disk_is_one_line() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(_program("json", 5000), stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "standard output cannot be written: No space left on device\n"


def test_a_closed_stdout_is_no_error() -> None:
    quoted = _program("json", 3)
    done = subprocess.run(["sh", "-c", 'exec "$@" >&-', "sh", *quoted], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (9, b"")


def test_pipes_get_utf8_in_any_locale() -> None:
    env = os.environ | {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    done = subprocess.run(_program("json", 1), env=env, capture_output=True, check=False)
    assert "üser" in done.stdout.decode()


def test_help_into_a_pipe_that_is_gone(cli: Cli) -> None:
    process = cli.start("--help")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() == 0


# --- terminals


def on_terminal(command: list[str], width: int, height: int = 0, **env: str) -> str:
    """What ``command`` writes to a terminal of that width. Without a height it knows no size, as under expect."""
    main, side = pty.openpty()
    if height:
        termios.tcsetwinsize(side, (height, width))
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(width), **env}
    with subprocess.Popen(command, stdout=side, stderr=side, stdin=side, env=environment) as process:
        os.close(side)
        output = b""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if not select.select([main], [], [], 1)[0]:
                continue
            try:
                part = os.read(main, 65536)
            except OSError:  # Linux tells the end of a terminal so
                break
            if not part:
                break
            output += part
        process.wait()
    os.close(main)
    return output.decode().replace("\r\n", "\n")


def test_a_wide_terminal_has_one_line_for_each_record() -> None:
    lines = on_terminal(_program("table", 3), 140, NO_COLOR="1").splitlines()
    assert len(lines) == 4
    assert lines[0].split() == ["booking", "status", "user", "seats", "total", "created", "itinerary"]
    assert lines[1].startswith("K7QX2M   PENDING")
    assert lines[1].endswith("CF_DEL_DXB_A1-20261201_B2-20261201")


def test_a_narrow_terminal_cuts_nothing() -> None:
    lines = on_terminal(_program("table", 3), 90, NO_COLOR="1").splitlines()
    assert len(lines) == 7
    assert lines[2] == "  CF_DEL_DXB_A1-20261201_B2-20261201"
    assert "…" not in "".join(lines)


@pytest.mark.parametrize("width", [40, 80])
def test_prose_is_wrapped_and_nothing_is_cut(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from flightctl.render_terminal import table_lines
    from flightctl.views.operations import CHECK

    monkeypatch.setenv("COLUMNS", str(width))
    check = CHECK.fields(DoctorCheck("processor", "warning", "word " * 30, "hint"))
    lines = list(table_lines(CHECK, [check], color=False))
    assert len(lines) > 2
    assert " ".join(lines).split().count("word") == 30
    assert "…" not in "".join(lines)


@pytest.mark.parametrize("width", [50, 80, 120])
@pytest.mark.parametrize(("view", "record"), samples.RECORDS)
def test_every_table_fits(view: View, record: Any, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from flightctl.render_terminal import record_lines, table_lines

    monkeypatch.setenv("COLUMNS", str(width))
    fields = view.fields(record)
    shown = list(record_lines(view, fields, color=True))
    if view.cells:
        lines = list(table_lines(view, [fields], color=True))
        longest = max(len(cell.title + cell.text(fields)) for cell in view.cells)
        assert max(len(re.sub(r"\x1b\[[0-9;]*m", "", line)) for line in lines) <= max(width, longest + 3)
        shown += lines
    assert not any(re.search(r" (\x1b\[[0-9;]*m)*$", line) for line in shown)


def test_callbacks_of_a_rehearsal_have_a_table() -> None:
    from flightctl.render_terminal import record_lines

    rehearsal = next(view.fields(record) for view, record in samples.RECORDS if view is REHEARSED)
    header, *rows = [line.split() for line in record_lines(REHEARSED, rehearsal, color=False)][-2:]
    assert header == ["callback", "payment", "booking", "changed"]
    assert rows == [["SUCCESS", "SUCCESS", "PENDING", "yes"]]


def test_what_does_not_fit_stands_below(monkeypatch: pytest.MonkeyPatch) -> None:
    from flightctl.render_terminal import table_lines

    monkeypatch.setenv("COLUMNS", "60")
    header, row, below = table_lines(PAYMENT, [PAYMENT.fields(samples.PAYMENT)], color=False)
    assert "created" not in header
    assert row.split() == ["pay-1", "K7QX2M", "10800.00", "SUCCESS", "GATEWAY", "0.00"]
    assert below.startswith("  created 2026-")
    event = {**EVENT.fields(samples.EVENT), "reason": "word " * 20}
    lines = list(table_lines(EVENT, [event], color=False))
    assert max(map(len, lines)) <= 60
    assert " ".join(lines[2:]).split() == ["word"] * 20


def test_colours_only_where_they_are_wanted() -> None:
    assert "\x1b[33mPENDING" in on_terminal(_program("table", 1), 140)
    assert "\x1b" not in on_terminal(_program("table", 1), 140, NO_COLOR="1")
    assert "\x1b" not in on_terminal(_program("table", 1), 140, TERM="dumb")


def test_a_pager_only_where_the_screen_is_too_small() -> None:
    whole = on_terminal(_program("table", 5), 118, PAGER="false")
    assert len(whole.splitlines()) == 6
    assert max(map(len, whole.splitlines())) > 118, "with its colours; without them it fits"
    assert on_terminal(_program("table", 5), 118, 7, PAGER="false") == whole
    assert on_terminal(_program("table", 5), 118, 6, PAGER="false") == ""
    assert on_terminal(_program("table", 5), 118, 6, PAGER="false", TERM="dumb").count("PENDING") == 5


def test_errors_are_red_on_a_terminal_only() -> None:
    command = [sys.executable, "-m", "flightctl", "nonsense"]
    assert on_terminal(command, 80).startswith("\x1b[1;31merror:\x1b[0m no such command")
    assert "\x1b" not in on_terminal(command, 80, NO_COLOR="1")
    assert "\x1b" not in on_terminal([sys.executable, "-m", "flightctl", "--no-color", "nonsense"], 80)
