"""One frame of ``top``, as wide and as high as the terminal is. Holds and flights get the lines that are left."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from flightctl.core.doctor_state import LAG_SECONDS, PAYMENT_SECONDS
from flightctl.core.overview import HotFlight, OpenHold, Overview
from flightctl.core.vitals import CAP
from flightctl.render_terminal import STATUS_STYLES
from flightctl.views.base import money, printable

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

SIDE_BY_SIDE: Final = 78
"""Columns from which on holds and flights stand next to each other."""
_HOLD_COLUMNS: Final = 36
_BAR: Final = (6, 40)
_EIGHTHS: Final = " ▏▎▍▌▋▊▉"
_SOON_SECONDS: Final = 30
_HEADER_LINES: Final = 8


@dataclass(frozen=True, slots=True)
class Scene:
    """What there is to draw: the newest look, how old it is, and why there is no newer one."""

    title: str
    look: Overview | None
    age: float = 0.0
    trouble: str = ""
    keys: str = ""


def draw(scene: Scene, width: int, height: int) -> "RenderableType":
    """Not more than ``height`` lines, none wider than ``width``."""
    from rich.console import Group

    lines: list[RenderableType] = [_title(scene, width)]
    if scene.trouble:
        lines.append(_line(scene.trouble, "bold red"))
    if scene.look is None:
        return Group(*lines)
    lines += _summary(scene.look, len(lines))
    room = max(2, height - _HEADER_LINES - 1)
    if width >= SIDE_BY_SIDE:
        lines.append(_both(scene, width, room))
    else:
        half = max(2, room // 2)
        lines += [_holds(scene, half), _flights(scene.look.hot, width, half)]
    return Group(*lines)


def _line(text: str, style: str = "") -> "Text":
    from rich.text import Text

    return Text(printable(text), style=style, no_wrap=True, overflow="ellipsis")


def _title(scene: Scene, width: int) -> "Text":
    at = f"{scene.look.vitals.at + timedelta(seconds=scene.age):%H:%M:%S}Z" if scene.look else ""
    right = f"{at}  {scene.keys}".strip()
    left = f"flightctl top  {scene.title}"
    left = left if len(left) < width - len(right) - 1 else left[: max(0, width - len(right) - 2)] + "…"
    text = _line(left.ljust(width - len(right)) + right, "reverse")
    text.truncate(width, overflow="crop")
    return text


def _summary(look: Overview, above: int) -> "list[Text]":
    now = look.vitals
    recent = _line("")
    for status, count in look.recent.items():
        recent.append(f"{status} {count:,}  ", STATUS_STYLES[status] if count else "dim")
    late = "bold red" if now.sweep_lag > LAG_SECONDS else ""
    waiting = "bold red" if now.requested_age > PAYMENT_SECONDS else ""
    holds = _parts(
        (f"{_many(now.holds)} open", ""),
        (f"{_many(now.lapsed)} lapsed", ""),
        (f"sweep lag {_age(now.sweep_lag)}", late),
        _alive(len(now.alive("sweep")), "sweeper", needed=False),
    )
    payments = _parts(
        _alive(len(now.alive("payments")), "processor", needed=True),
        (f"{_many(now.requested)} waiting", ""),
        (f"oldest {_age(now.requested_age)}", waiting),
        (f"{_many(now.processing)} at the gateway", ""),
        (f"{_many(now.overdue)} overdue", "bold red" if now.overdue else ""),
    )
    refunds = _parts(
        (f"{now.refunds:,} due", ""),
        (money(now.refunds_amount), ""),
        (f"oldest {_age(now.refunds_age)}", ""),
        (f"{now.refunds_by_hand:,} by hand", ""),
    )
    stores = _parts(
        (f"database answers in {look.latency * 1000:.1f} ms", ""),
        (f"redis {look.redis}", "yellow" if look.redis == "down" else ""),
    )
    made = _line(f"{_many(look.last_minute)} made in the last minute · {_many(now.pending)} pending")
    span = "last 10 min" if look.recent_is_all else "the latest"
    rows = (
        ("bookings", made), (span, recent), ("holds", holds), ("payments", payments), ("refunds", refunds),
        ("stores", stores),
    )  # fmt: skip
    return [_line("")] * (above == 1) + [_labelled(label, text) for label, text in rows]


def _labelled(label: str, text: "Text") -> "Text":
    line = _line(f"{label:<12}", "bold")
    line.append_text(text)
    return line


def _parts(*parts: tuple[str, str]) -> "Text":
    text = _line("")
    for number, (words, style) in enumerate(parts):
        text.append(" · " if number else "", "dim")
        text.append(words, style)
    return text


def _alive(count: int, what: str, *, needed: bool) -> tuple[str, str]:
    if count:
        return f"{count} {what}{'s' if count > 1 else ''}", "green"
    return f"no {what}", "bold red" if needed else "yellow"


def _many(count: int) -> str:
    return f"{count:,}+" if count >= CAP else f"{count:,}"


def _age(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    if minutes >= 120:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def _grid() -> "Table":
    from rich.table import Table

    return Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=True, header_style="bold")


def _both(scene: Scene, width: int, room: int) -> "Table":
    from rich.table import Table

    assert scene.look is not None
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(width=_HOLD_COLUMNS, no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_row(_holds(scene, room), _flights(scene.look.hot, width - _HOLD_COLUMNS - 4, room))
    return table


def _holds(scene: Scene, room: int) -> "Table":
    table = _grid()
    table.add_column("hold", no_wrap=True)
    table.add_column("flight", no_wrap=True, overflow="ellipsis", max_width=16)
    table.add_column("n", justify="right", no_wrap=True)
    table.add_column("left", justify="right", no_wrap=True)
    look = scene.look
    for hold in look.holds[: room - 1] if look else ():
        table.add_row(hold.booking_id, hold.flight_id, str(hold.seats), _left(hold, scene))
    return table


def _left(hold: OpenHold, scene: Scene) -> "Text":
    """Minutes and seconds until it lapses, by the database's clock."""
    assert scene.look is not None
    seconds = (hold.expires_at - scene.look.vitals.at).total_seconds() - scene.age
    minutes, rest = divmod(int(abs(seconds)), 60)
    shown = f"{minutes}:{rest:02d}" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02d}"
    if seconds <= 0:
        return _line(f"-{shown}", "bold red")
    return _line(shown, "yellow" if seconds <= _SOON_SECONDS else "")


def _flights(hot: Sequence[HotFlight], width: int, room: int) -> "Table":
    table = _grid()
    table.add_column("hot flight", no_wrap=True, overflow="ellipsis", max_width=max(14, width // 3))
    table.add_column("load", no_wrap=True)
    table.add_column("taken", justify="right", no_wrap=True)
    names = max(len("hot flight"), *(len(flight.flight_id) for flight in hot), 0)
    free = width - min(names, max(14, width // 3)) - 2 - 14
    cells = max(_BAR[0], min(_BAR[1], free))
    for flight in hot[: room - 1]:
        taken = flight.total_seats - flight.available_seats
        table.add_row(flight.flight_id, _bar(flight.load, cells), f"{taken}/{flight.total_seats} {flight.load:4.0%}")
    return table


def _bar(load: float, cells: int) -> "Text":
    eighths = round(load * cells * 8)
    full, rest = divmod(eighths, 8)
    text = "█" * full + (_EIGHTHS[rest] if rest else "")
    style = "red" if load >= 0.95 else "yellow" if load >= 0.8 else "green"
    bar = _line(text, style)
    bar.append("·" * (cells - len(text)), "dim")
    return bar
