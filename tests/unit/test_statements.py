"""Statements that are made once must be compiled once."""

from __future__ import annotations

import pytest
from sqlalchemy import Executable, select

from flightctl.core import claims, confirming, gateway, inventory, money, records, refunding, settlement, sweeper
from flightctl.core.sql_functions import rows_changed, utc_now

MODULES = (claims, confirming, gateway, inventory, money, records, refunding, settlement, sweeper)
STATEMENTS = {
    f"{module.__name__}.{name}": value
    for module in MODULES
    for name, value in vars(module).items()
    if isinstance(value, Executable)
}


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_statement_has_a_key_in_the_cache(name: str) -> None:
    """One without is compiled at every execution, which takes longer than most of them run."""
    assert STATEMENTS[name]._generate_cache_key() is not None  # type: ignore[attr-defined]


def test_clocks_that_differ_are_kept_apart() -> None:
    keys = {select(utc_now(seconds))._generate_cache_key().key for seconds in (0, 1, -1, 1)}  # type: ignore[union-attr]
    assert len(keys) == 3
    assert select(rows_changed())._generate_cache_key() is not None
