"""The table of refunds: how it reads, and what share it gives at which time."""

from decimal import Decimal

import pytest

from flightctl.core.errors import ConfigError
from flightctl.core.refund_rules import parse_rules, part_of, price_of_rest, share_of, write_rules
from flightctl.core.settings import load_settings

TABLE = "24h=50%, 72h=100%, 2h=0.125"


def test_the_longest_time_first_and_written_as_read() -> None:
    rules = parse_rules(TABLE)
    assert [(rule.seconds, str(rule.share)) for rule in rules] == [(259200, "1"), (86400, "0.5"), (7200, "0.125")]
    assert write_rules(rules) == "3d=100%, 1d=50%, 2h=12.5%"
    assert parse_rules(write_rules(rules)) == rules
    assert parse_rules({"72h": 1, "24h": 0.5, "2h": "12.5%"}) == rules


@pytest.mark.parametrize(
    ("hours", "share"), [(73, "1"), (72, "1"), (71.999, "0.5"), (24, "0.5"), (2, "0.125"), (1.999, "0"), (-5, "0")]
)
def test_shares(hours: float, share: str) -> None:
    assert share_of(parse_rules(TABLE), hours * 3600) == Decimal(share)


def test_without_rules_all_goes_back_at_any_time() -> None:
    assert [share_of(parse_rules(""), seconds) for seconds in (1e9, 0, -1e9)] == [1, 1, 1]


@pytest.mark.parametrize(
    "text", ["72h", "72h=", "=1", "72h=101%", "72h=-1", "72h=NaN", "x=1", "1h=1,1h=0", "24h=1,72h=0", "1h=1;2h=1", ","]
)
def test_tables_that_make_no_sense(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(environ={"FLIGHTCTL_RELEASE_REFUND": text})
    assert caught.value.message.startswith("FLIGHTCTL_RELEASE_REFUND: ")


def test_a_mapping_in_a_file(tmp_path: object) -> None:
    from pathlib import Path

    file = Path(str(tmp_path)) / "settings.yaml"
    file.write_text("release:\n  refund:\n    72h: 100%\n    24h: 0.5\n", encoding="utf-8")
    assert load_settings(str(file), environ={})["release.refund"] == parse_rules("72h=1,24h=0.5")


def test_money_stays_exact() -> None:
    assert part_of(Decimal("10.01"), Decimal("0.5")) == Decimal("5.01")
    assert price_of_rest(Decimal("3000.03"), 3, 2) == Decimal("2000.02")
    assert price_of_rest(Decimal("100.00"), 3, 2) == Decimal("66.67")
