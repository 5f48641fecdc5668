"""``flights sales`` on a terminal: confirmed and held seats over time, as an area of blocks. Needs no colours."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from flightctl.core.model.states import FlightStatus
from flightctl.core.sales import Sales, SalesPoint, Span
from flightctl.views.base import day_and_time, local

WIDTH: Final = 80
"""Columns at most; a wider terminal shows no more of a flight."""
NARROWEST: Final = 40
HEIGHT: Final = 8
"""Lines of the area itself."""
_EIGHTHS: Final = " ▁▂▃▄▅▆▇█"
_HELD: Final = "░"
_STEPS: Final = (1, 2, 5)


def plot(sales: Sales, columns: int) -> Iterator[str]:
    """Lines for a terminal of so many columns."""
    flight = sales.flight
    departs = day_and_time(local(flight.departure_time, flight.source))
    cancelled = " · CANCELLED" if flight.status is FlightStatus.CANCELLED else ""
    yield f"{flight.flight_id} · {flight.source}→{flight.destination} · {departs}{cancelled}"
    yield _summary(sales)
    yield ""
    top = _top(sales)
    label = max(len(str(top)), len(str(top // 2))) + 2
    width = max(NARROWEST, min(WIDTH, columns)) - label
    shown = _columns(sales.points, width)
    for line in range(HEIGHT, 0, -1):
        named = {HEIGHT: str(top), HEIGHT // 2: str(top // 2) if top % 2 == 0 else ""}.get(line, "")
        yield f"{named:>{label - 2}} {'┤' if named else '│'}{_row(shown, line, top)}".rstrip()
    yield f"{'0':>{label - 2}} └" + "─" * width
    if sales.points:
        yield " " * label + _dates(sales, width)
    yield f"{' ' * label}█ confirmed  {_HELD} held  by {sales.span.value}, UTC"


def _summary(sales: Sales) -> str:
    total = sales.flight.total_seats
    if not sales.points:
        return f"no bookings so far; {total} seats"
    last = sales.points[-1]
    given_back = sum(point.given_back for point in sales.points)
    sold = f"{last.confirmed_seats} of {total} seats confirmed ({last.confirmed_seats / total:.0%})"
    return f"{sold}, {last.held_seats} held; {given_back} given back so far"


def _top(sales: Sales) -> int:
    """Seats at the upper end: all that there are, or, where few were ever taken, a round number above these."""
    total = sales.flight.total_seats
    peak = max((point.held_seats + point.confirmed_seats for point in sales.points), default=0)
    if not peak or peak > total / 3:
        return max(total, peak)
    size = 2
    while True:
        for step in _STEPS:
            if step * size >= peak:
                return min(total, step * size)
        size *= 10


def _columns(points: Sequence[SalesPoint], width: int) -> list[SalesPoint]:
    """What each column shows: a point, or, of several, the last one."""
    count = len(points)
    if not count:
        return []
    if count <= width:
        return [points[column * count // width] for column in range(width)]
    return [points[(column + 1) * count // width - 1] for column in range(width)]


def _row(shown: Sequence[SalesPoint], line: int, top: int) -> str:
    """The ``line``-th from below."""
    return "".join(_cell(point, line, top) for point in shown)


def _cell(point: SalesPoint, line: int, top: int) -> str:
    eighths = 8 * HEIGHT
    sold = -(-point.confirmed_seats * eighths // top)  # rounded up: one seat is seen
    taken = -(-(point.confirmed_seats + point.held_seats) * eighths // top)
    below = 8 * (line - 1)
    if sold > below:
        return _EIGHTHS[min(8, sold - below)]
    return _HELD if point.held_seats and taken > below else " "


def _dates(sales: Sales, width: int) -> str:
    """The first point's and the last one's, and between them those that there is room for."""
    points = sales.points
    texts = [_date(point.at, sales.span) for point in (points[0], points[len(points) // 2], points[-1])]
    if len(points) < 3:
        texts[1] = ""
    if len(points) == 1:
        texts[2] = ""
    first, middle, last = texts
    between = width - len(first) - len(last)
    return (first + (middle if len(middle) + 4 <= between else "").center(between) + last).rstrip()


def _date(at: datetime, span: Span) -> str:
    return f"{at:%d %b}" if span is Span.DAY else f"{at:%d %b %H:%M}"
