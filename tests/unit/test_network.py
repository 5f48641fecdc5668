import math
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flightctl.core import network
from flightctl.core.errors import UnknownAirportError
from flightctl.core.resources import resource

ALL = list(network.all_airports())
CODES = [airport.iata for airport in ALL]


def test_table_is_sorted_unique_and_every_line_is_whole() -> None:
    assert sorted(set(CODES)) == CODES
    assert len(CODES) > 8000
    for airport in ALL:
        assert len(airport.iata) == 3
        assert airport.iata.isascii()
        assert airport.iata.isalpha()
        assert airport.iata.isupper()
        assert airport.name.strip()
        assert airport.city.strip()
        assert len(airport.country) == 2
        assert -90 <= airport.latitude <= 90
        assert -180 <= airport.longitude <= 180


def test_table_is_utf8_with_unix_line_ends() -> None:
    data = resource("seed_data/airports.tsv").read_bytes()
    assert data.startswith(b"iata\tname\tcity\tcountry\tzone\tlatitude\tlongitude\n")
    assert b"\r" not in data
    assert data.endswith(b"\n")
    data.decode("utf-8")


def test_every_zone_loads() -> None:
    for name in {airport.zone for airport in ALL}:
        ZoneInfo(name)


def test_every_airport_is_found_by_bisection() -> None:
    assert [network.airport(code) for code in CODES] == ALL


@given(st.text(alphabet="ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=3, max_size=3))
def test_found_exactly_when_listed(code: str) -> None:
    found = network.find_airport(code)
    assert (found is not None) == (code in set(CODES))
    assert found is None or found.iata == code


@pytest.mark.parametrize("typed", ["del", " DEL\n", "Del"])
def test_code_in_any_case_and_with_blanks(typed: str) -> None:
    assert network.airport(typed).iata == "DEL"
    assert network.zone(typed).key == "Asia/Kolkata"


@pytest.mark.parametrize("code", ["RAJ", "RDP", "SAG", "JLG", "IXX", "NNS", "FRU", "PNH"])
def test_airports_added_to_the_source(code: str) -> None:
    assert network.airport(code).iata == code


@pytest.mark.parametrize(
    ("typed", "suggested"),
    [("DEHLI", "DEL (Delhi)"), ("Delhi", "DEL (Delhi)"), ("Heathrow", "LHR (London)"), ("bombay", "BOM (Mumbai)")],
)
def test_unknown_airport_suggests(typed: str, suggested: str) -> None:
    with pytest.raises(UnknownAirportError) as caught:
        network.airport(typed)
    assert typed in caught.value.message
    assert caught.value.hint == f"Did you mean {suggested}?"


def test_swapped_letters_of_a_code_are_suggested() -> None:
    with pytest.raises(UnknownAirportError, match="unknown airport 'OGI'") as caught:
        network.airport("OGI")
    assert "GOI (Goa)" in caught.value.hint


@pytest.mark.parametrize("typed", ["", "  ", "D\tL", "123", "ÄÖÜ", "ß" * 500, "a\nb", "ＤＥＬ", "iat"])
def test_rubbish_is_an_unknown_airport_in_one_line(typed: str) -> None:
    with pytest.raises(UnknownAirportError) as caught:
        network.airport(typed)
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 100
    assert caught.value.hint


@pytest.mark.parametrize(
    ("one", "two", "kilometres"),
    [("DEL", "BOM", 1138), ("LHR", "JFK", 5540), ("SYD", "LAX", 12061), ("AKL", "PPT", 4093)],
)
def test_distance(one: str, two: str, kilometres: float) -> None:
    assert network.distance_km(one, two) == pytest.approx(kilometres, rel=0.005)


@given(st.sampled_from(CODES), st.sampled_from(CODES))
def test_distance_is_a_metric_on_the_globe(one: str, two: str) -> None:
    distance = network.distance_km(one, two)
    assert distance == pytest.approx(network.distance_km(two, one))
    assert 0 <= distance <= math.pi * 6371.01
    assert (distance == 0) == (one == two) or distance < 2


def test_local_time_has_the_offset_of_that_date() -> None:
    winter = network.to_local(datetime(2026, 1, 10, 12, tzinfo=UTC), "jfk")
    summer = network.to_local(datetime(2026, 7, 10, 12, tzinfo=UTC), "JFK")
    assert (winter.hour, winter.utcoffset()) == (7, timedelta(hours=-5))
    assert (summer.hour, summer.utcoffset()) == (8, timedelta(hours=-4))
    assert network.to_local(datetime(2026, 1, 1, 20, tzinfo=UTC), "DEL").isoformat() == "2026-01-02T01:30:00+05:30"


def test_naive_instants_are_refused() -> None:
    with pytest.raises(ValueError, match="aware"):
        network.to_local(datetime(2026, 1, 1), "DEL")


def test_lookup_loads_nothing_heavy() -> None:
    program = (
        "import sys; from flightctl.core.network import airport; airport('DEL');"
        "print([m for m in ('difflib', 'zoneinfo', 'csv', 'sqlalchemy', 'airportsdata') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
