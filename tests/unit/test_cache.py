"""The cache never raises into a use case."""

from typing import Any

from flightctl.core.cache import Cache
from flightctl.core.settings import load_settings


def _broken_under_it(_wire: Any, _deadline: float) -> None:
    raise AttributeError("'NoneType' object has no attribute 'recv'")  # a socket that another thread has closed


def test_an_error_that_is_not_redis_own_is_one_warning_and_no_answer() -> None:
    """Guard: the broad except in Cache.call."""
    warnings: list[str] = []
    cache = Cache(load_settings(environ={"FLIGHTCTL_REDIS_URL": "redis://127.0.0.1:1/0"}), warnings.append)
    assert cache.call(_broken_under_it) is None
    assert not cache.enabled
    assert cache.call(_broken_under_it) is None
    assert len(warnings) == 1
