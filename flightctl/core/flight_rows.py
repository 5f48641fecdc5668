"""Flights by their ids, for whoever shows or changes them."""

from typing import Any, Final

from sqlalchemy import bindparam, select

from flightctl.core.errors import InvalidFlightError
from flightctl.core.schema import flights

BY_ID: Final = select(flights).where(flights.c.flight_id == bindparam("id"))


def require(row: Any, flight_id: str) -> Any:
    """The row of a flight. Raises InvalidFlightError when there is none."""
    if row is None:
        raise InvalidFlightError(
            f"there is no flight {flight_id[:60]}",
            hint="`flightctl flights list` shows the flights there are.",
            details={"flightId": flight_id[:64]},
        )
    return row
