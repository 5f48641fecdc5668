"""What a user and a script see when something goes wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from sqlalchemy.exc import OperationalError

from flightctl import errors_shown
from flightctl.core import errors
from flightctl.core.errors import FlightctlError, OutcomeUnknownError, ValidationError

CODES = {
    "VALIDATION_ERROR": (2, False), "UNKNOWN_AIRPORT": (2, False), "CONFIG_ERROR": (2, False), "USAGE": (2, False),
    "INVALID_FLIGHT": (3, False), "BOOKING_NOT_FOUND": (3, False), "PAYMENT_NOT_FOUND": (3, False),
    "ENVIRONMENT_PROTECTED": (4, False), "NO_SEATS_AVAILABLE": (5, False),
    "HOLD_EXPIRED": (6, False), "INVALID_STATE": (6, False),
    "LOCK_ACQUISITION_FAILED": (7, True), "DATABASE_UNAVAILABLE": (7, True), "SERVICE_UNAVAILABLE": (7, True),
    "OUTCOME_UNKNOWN": (7, True), "SCHEMA_MISMATCH": (7, False), "WAIT_TIMEOUT": (8, True),
    "INVARIANT_VIOLATION": (9, False), "IDEMPOTENCY_MISMATCH": (10, False), "PAYMENT_DECLINED": (11, False),
    "INTERNAL_ERROR": (1, False),
}  # fmt: skip


def test_codes_are_those_of_the_specification() -> None:
    found = {
        kind.code: (kind.exit_status, kind.retryable)
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, FlightctlError)
    }
    assert found == CODES


# --- usage


@pytest.mark.parametrize(
    ("arguments", "code", "part"),
    [
        (["serach"], "USAGE", "no such command: serach"),
        (["bookings", "lst"], "USAGE", "no such command: lst"),
        (["search", "DEL"], "USAGE", "missing argument"),
        (["search", "DEL", "BLR"], "USAGE", "--date"),
        (["search", "DEL", "BLR", "--date", "today", "--nope"], "USAGE", "--nope"),
        (["search", "DEL", "BLR", "XXX", "--date", "today"], "USAGE", "unexpected extra argument"),
        (["search", "DEL", "BLR", "--date"], "USAGE", "--date"),
        (["search", "DEL", "BLR", "--date", "today", "--seats", "x"], "VALIDATION_ERROR", "--seats takes a whole number"),
        (["search", "DEL", "BLR", "--date", "today", "--seats", "9" * 30], "VALIDATION_ERROR", "--seats"),
        (["bookings"], "USAGE", "missing command"),
        (["config", "show", "--config"], "USAGE", "--config"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("where", ["before", "after", "environment"])
def test_usage_errors_have_the_json_form(cli: Any, arguments: list[str], code: str, part: str, where: str) -> None:
    env = {"FLIGHTCTL_OUTPUT": "json"} if where == "environment" else {}
    if where == "before":
        arguments = ["-o", "json", *arguments]
    elif where == "after":
        arguments = [arguments[0], "--output=json", *arguments[1:]]
    result = cli(*arguments, env=env, check=2)
    assert result.error["code"] == code
    assert part in result.error["message"]
    assert result.error["retryable"] is False
    assert set(result.error) == {"code", "message", "retryable", "hint", "details"}
    assert result.stdout == ""


def test_mistyped_commands_and_options_get_a_suggestion(cli: Any) -> None:
    assert "Did you mean `flightctl search`?" in cli("serach", check=2).stderr
    assert "Did you mean `flightctl payments refund`?" in cli("payments", "refnd", check=2).stderr
    assert "Did you mean --output?" in cli("--outptu", "json", check=2).stderr


def test_the_value_nearest_to_the_command_wins(cli: Any) -> None:
    assert cli("-o", "json", "config", "show", "-o", "csv").stdout.startswith("key,value,source,variable\n")
    assert cli("-o", "json", "config", "-o", "csv", "show").stdout.startswith("key,value,source,variable\n")
    assert cli("config", "show", "-o", "csv", env={"FLIGHTCTL_OUTPUT": "json"}).stdout.startswith("key,value")
    assert cli("config", "show", env={"FLIGHTCTL_OUTPUT": "json"}).json()["content"]


def test_an_unknown_form_is_refused_before_anything_is_done(cli: Any) -> None:
    assert "not one of table, json, csv" in cli("config", "show", "-o", "xml", check=2).stderr
    assert "FLIGHTCTL_OUTPUT" in cli("config", "show", env={"FLIGHTCTL_OUTPUT": "xml"}, check=2).stderr


def test_every_error_of_book_names_a_key(cli: Any) -> None:
    for arguments in (["book"], ["book", "X", "--user", "u", "--ttl", "x"], ["book", "X", "--nope"]):
        assert cli(*arguments, "-o", "json", check=2).error["details"]["idempotencyKey"]
    given = ["book", "--idempotency-key", "K 1", "X", "-o", "json"]
    assert cli(*given, check=2).error["details"]["idempotencyKey"] == "K 1"
    broken = cli(*given, "--user", "u", env={"FLIGHTCTL_LOCKING": "?"}, check=2)
    assert broken.error["details"]["idempotencyKey"] == "K 1"
    assert broken.error["code"] == "CONFIG_ERROR"


def test_an_actor_must_be_printable(cli: Any) -> None:
    assert cli("bookings", "list", "--actor", "a\nb", "-o", "json", check=2).error["code"] == "VALIDATION_ERROR"
    assert cli("bookings", "list", "--actor", "a" * 65, check=2).stderr.count("\n") == 1


# --- one line, without passwords


@pytest.mark.parametrize("text", ["a\nb", "a\r\x1b[31mb\x07", "a\u2028b\u202eb\x9b", "\udcff", "é" * 10_000])
def test_messages_are_one_printable_line(text: str) -> None:
    error = ValidationError(f"bad {text}", hint=f"not {text}", details={"given": text})
    shown = errors_shown.as_text(error)
    assert shown.isprintable()
    assert len(shown) < 2000
    line = errors_shown.as_json(error)
    assert len(line.splitlines()) == 1
    assert json.loads(line)["error"]["message"].isprintable()


@pytest.mark.parametrize(
    "url",
    ["mysql://root:s3cret@host/db", "redis://:s3cret@host", "x://u:a@s3cret@host", "x://u:s3cret/s3cret@host", "x://u:s3cret"],
)  # fmt: skip
def test_passwords_are_masked(url: str) -> None:
    error = ValidationError(f"cannot reach '{url}'"[:-1], hint=url, details={"url": url, "all": [url]})
    assert "s3cret" not in errors_shown.as_text(error)
    assert "s3cret" not in errors_shown.as_json(error)
    assert "s3cret" not in errors_shown.mask("password=s3cret&ssl=1")


def test_what_is_no_password_stays() -> None:
    for text in ("redis://cache:6379/0 does not answer", "at http://host:80", "a: b@c", "see http://x/y"):
        assert errors_shown.mask(text) == text


def test_a_password_cut_in_two_is_masked() -> None:
    text = "x" * (errors_shown.MAX_MESSAGE * 4 - 20) + "mysql://root:s3cret-that-is-long@host/db"
    assert "s3c" not in errors_shown.one_line(text, errors_shown.MAX_MESSAGE * 10)[: errors_shown.MAX_MESSAGE * 10]
    assert "s3c" not in errors_shown.one_line(text)


# --- exceptions of all kinds


def test_a_defect_is_one_line_that_names_the_exception() -> None:
    shown = errors_shown.as_flightctl_error(KeyError("colour\nsecond line"))
    assert (shown.code, shown.exit_status) == ("INTERNAL_ERROR", 1)
    assert "KeyError" in errors_shown.as_text(shown)
    assert "\n" not in errors_shown.as_text(shown)


def test_a_refusal_outside_our_transactions_is_no_defect() -> None:
    text = "Access denied for user 'agent'@'%' to database 'flightctl_bench'"
    refused = errors_shown.as_flightctl_error(OperationalError("CREATE DATABASE x", {}, Exception(1044, text)))
    assert (refused.code, refused.exit_status) == ("DATABASE_UNAVAILABLE", 7)
    assert refused.message == "the database refuses this account 'agent'@'%' for the database 'flightctl_bench'"
    wrong = errors_shown.as_flightctl_error(OperationalError("SELEC 1", {}, Exception(1064, "syntax")))
    assert wrong.code == "INTERNAL_ERROR"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), typer.Abort()])
def test_interruption_is_130(error: BaseException) -> None:
    assert errors_shown.as_flightctl_error(error).exit_status == 130


def test_a_key_to_try_again_with_is_shown() -> None:
    error = OutcomeUnknownError("connection lost", details={"idempotencyKey": "a b"})
    assert errors_shown.as_text(error).endswith("--idempotency-key 'a b'")
    assert "a b" not in errors_shown.as_text(ValidationError("no", details={"idempotencyKey": "a b"}))


def _run(program: str, tmp_path: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """The program with a defect built in."""
    code = f"{program}\nimport sys\nfrom flightctl.app import run\nsys.exit(run({list(arguments)!r}))"
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), **env},
        check=False,
    )


DEFECT = "import flightctl.core.settings as s\ndef load(*_, **__): raise LookupError('at mysql://a:s3cret@b\\nmore')\ns.load_settings = load"


def test_a_traceback_only_when_asked_for(tmp_path: Path) -> None:
    quiet = _run(DEFECT, tmp_path, "config", "show", "-o", "json")
    assert quiet.returncode == 1
    assert json.loads(quiet.stderr)["error"]["message"] == "LookupError: at mysql://a:***@b"
    loud = _run(DEFECT, tmp_path, "config", "show", FLIGHTCTL_DEBUG="1")
    assert "Traceback" in loud.stderr
    assert loud.stderr.splitlines()[-1].startswith("error: LookupError")
    assert "s3cret" not in quiet.stderr + loud.stderr


def test_ctrl_c_is_no_traceback(tmp_path: Path) -> None:
    program = "import flightctl.core.settings as s\ndef load(*_, **__): raise KeyboardInterrupt\ns.load_settings = load"
    done = _run(program, tmp_path, "config", "show")
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "error: aborted.\n")


def test_a_result_is_printed_before_the_error(tmp_path: Path) -> None:
    program = """
import flightctl.core.settlement as s
from flightctl.core.errors import WaitTimeoutError
from flightctl.core.model.payments import CallbackResult
from flightctl.core.model.states import BookingStatus, PaymentStatus
def confirm(*_):
    raise WaitTimeoutError("late", result=CallbackResult("p", "b", PaymentStatus.SUCCESS, BookingStatus.PENDING, True))
s.confirm = confirm
"""
    done = _run(program, tmp_path, "confirm", "ABC234", "-o", "json")
    assert done.returncode == 8
    assert json.loads(done.stdout)["paymentId"] == "p"
    assert json.loads(done.stderr)["error"]["code"] == "WAIT_TIMEOUT"


def test_warnings_are_said_once(tmp_path: Path) -> None:
    program = """
import flightctl.core.settlement as s
def confirm(runtime, _):
    runtime.warn("Redis is down"); runtime.warn("Redis is down"); raise KeyError("x")
s.confirm = confirm
"""
    done = _run(program, tmp_path, "confirm", "ABC234", "-o", "json")
    assert done.stderr.splitlines()[0] == "warning: Redis is down"
    assert done.stderr.count("Redis") == 1
    assert json.loads(done.stderr.splitlines()[-1])["error"]["code"] == "INTERNAL_ERROR"
