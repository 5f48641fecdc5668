"""`schedule import` and `export` as scripts meet them."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from flightctl.app import run

HEADER = (
    "carrier,flight_number,origin,destination,departure_local,arrival_local,arrival_day_offset,"
    "days_of_operation,valid_from,valid_to,aircraft_or_seats,price\n"
)
DAY = datetime.now(UTC).date() + timedelta(days=3)
FLIGHT = f"6E203-{DAY:%Y%m%d}"
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    def run_it(*words: str) -> tuple[int, str, str]:
        code = run(words)
        out, err = capsys.readouterr()
        return code, out, err

    return run_it


def write(path: Path, *rows: str) -> str:
    """Rows are ``…|seats``."""
    halves = (row.partition("|") for row in rows)
    path.write_text(HEADER + "".join(f"{row},{DAY},{DAY},{seats},5400\n" for row, _, seats in halves))
    return str(path)


def test_import_from_the_first_look_to_the_last_seat(call: Call, tmp_path: Path) -> None:
    file = write(
        tmp_path / "a.csv", "6E,203,DEL,BLR,06:10,08:55,0,1234567|180", "6E,204,BLR,DEL,10:10,12:55,0,1234567|180"
    )
    code, out, err = call("schedule", "import", file, "-o", "json")
    assert code == 2  # nobody to ask, and no --yes
    document, error = json.loads(out), json.loads(err.splitlines()[-1])["error"]
    assert (document["new"], document["applied"], error["code"]) == (2, False, "VALIDATION_ERROR")
    assert "--yes" in error["hint"]
    assert json.loads(call("flights", "list", "-o", "json")[1])["totalElements"] == 0
    code, out, err = call("schedule", "import", file, "--yes")
    assert (code, out.splitlines()[0].split("\t")[:2], len(out.splitlines())) == (0, ["kind", "flightId"], 3)
    assert err.strip().endswith("0 unchanged, 2 new, 0 changed, 0 gone.")
    call("book", FLIGHT, "--user", "asha", "--seats", "3")
    file = write(tmp_path / "b.csv", "6E,203,DEL,BLR,06:30,09:15,0,1234567|2")
    code, out, err = call("schedule", "import", file, "--dry-run", "-q")
    assert (code, out.split()) == (0, [FLIGHT, f"6E204-{DAY:%Y%m%d}"])
    code, out, err = call("schedule", "import", file, "--yes", "-o", "json")
    document, error = json.loads(out), json.loads(err.splitlines()[-1])["error"]
    assert (code, error["code"], document["left"], document["seatsAtStake"]) == (6, "INVALID_STATE", 1, 3)
    assert [(one["outcome"], one["reason"]) for one in document["changes"]] == [
        ("left", "3 seats are sold or held; it cannot shrink to 2"),
        ("cancelled", None),
    ]
    assert document["changes"][0]["differences"][0] == {
        "field": "departureTime", "loaded": f"{DAY}T06:10", "file": f"{DAY}T06:30",
    }  # fmt: skip


@pytest.mark.parametrize("form", ["csv", "ssim"])
def test_export_into_a_file_and_back(call: Call, tmp_path: Path, form: str) -> None:
    assert call("seed", "--days", "2")[0] == 0
    code, out, _ = call("schedule", "export", "--format", form)
    assert (code, out.startswith(HEADER if form == "csv" else "1AIRLINE STANDARD")) == (0, True)
    (tmp_path / "export").write_text(out)
    code, out, err = call("schedule", "import", str(tmp_path / "export"), "-o", "json")
    document: Any = json.loads(out)
    assert (code, document["changes"], document["rejected"], err) == (0, [], [], "")
    assert document["flights"] == document["unchanged"] > 50
    code, out, _ = call("schedule", "export", "-o", "json", "--carrier", "6E")
    assert {row["carrier"] for row in json.loads(out)["content"]} == {"6E"}


@pytest.mark.parametrize(
    "words",
    [
        ("import", "no-such-file"),
        ("import", "."),
        ("import", "schedule.csv", "--days", "x"),
        ("import", "schedule.csv", "--start", "someday"),
        ("export", "--format", "xml"),
        ("export", "--from", "someday"),
        ("export", "--carrier", "?"),
    ],
)
def test_bad_input_is_told_in_one_line(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "schedule.csv", "6E,203,DEL,BLR,06:10,08:55,0,1234567|180")
    code, out, err = call("schedule", *words)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert err.startswith("error: ")
