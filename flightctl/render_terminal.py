"""Tables for people. Nothing is ever cut: a column that does not fit beside the others gets lines of its own."""

import os
import re
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final, Literal

from flightctl.views.base import Cell, Fields, View, human, printable, words

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

STATUS_STYLES: Final = {
    "ACTIVE": "green",
    "CONFIRMED": "green",
    "SUCCESS": "green",
    "ok": "green",
    "PENDING": "yellow",
    "REQUESTED": "yellow",
    "PROCESSING": "yellow",
    "REFUND_DUE": "yellow",
    "warning": "yellow",
    "FAILED": "red",
    "failed": "red",
    "CANCELLED": "red",
    "EXPIRED": "dim",
    "REFUNDED": "dim",
}
INDENT: Final = "  "
_COLOR: Final = re.compile(r"\x1b\[[0-9;]*m")
_END: Final = re.compile(rf"(?: |{_COLOR.pattern})+$")
"""Blanks that fill the last column, between and behind its colours: a narrower terminal would make lines of them."""
MIN_PROSE: Final = 26
"""Columns, the gap before it included, that wrapped text gets on the narrowest terminal."""


def record_lines(view: View, fields: Fields, *, color: bool) -> Iterator[str]:
    """One line for each field, then the records within it as a table."""
    nested = view.nested
    shown = [(words(key), human(key, value)) for key, value in fields.items() if nested is None or key != nested[0]]
    table = _bare_table()
    table.add_column(style="bold", no_wrap=True)
    table.add_column(no_wrap=True)
    for title, text in shown:
        table.add_row(_text(title), _text(text, STATUS_STYLES.get(text, "")))
    yield from _rendered(table, color=color)
    if nested is not None and fields.get(nested[0]):
        yield ""
        yield from table_lines(nested[1], fields[nested[0]], color=color)


def table_lines(view: View, rows: Sequence[Fields], *, color: bool) -> Iterator[str]:
    """A header and one line for each row. Where it is wider than the terminal, prose is wrapped, if that is enough;
    else what does not fit beside the others stands below them."""
    cells = view.cells
    texts = [[_styled(cell, row) for cell in cells] for row in rows]
    if _natural_width(_table(cells, texts)) <= terminal_width():
        yield from _rendered(_table(cells, texts), color=color)
        return
    if not any(cell.wide for cell in cells) and _least_width(cells, texts) <= terminal_width():
        yield from _rendered(_table(cells, texts), color=color, width=terminal_width())
        return
    below = _below(cells, texts)
    beside = [index for index in range(len(cells)) if index not in below]
    header, *lines = _rendered(_table(*_chosen(cells, texts, beside)), color=color)
    yield header
    for line, row in zip(lines, texts, strict=True):
        yield line
        yield from _lines_below([(cells[index], row[index].plain) for index in below if row[index].plain])


def _below(cells: Sequence[Cell], texts: Sequence[Sequence["Text"]]) -> list[int]:
    """Which cells stand below the others, so that these fit: wide ones first, then prose, then whatever is last."""
    rank = {index: 2 if cell.wide else int(cell.prose) for index, cell in enumerate(cells) if index}
    below: list[int] = []
    for index in sorted(rank, key=lambda index: (rank[index], index), reverse=True):
        below.append(index)
        beside = [index for index in range(len(cells)) if index not in below]
        if _natural_width(_table(*_chosen(cells, texts, beside))) <= terminal_width():
            break
    return sorted(below)


def _chosen(
    cells: Sequence[Cell], texts: Sequence[Sequence["Text"]], wanted: Sequence[int]
) -> tuple[list[Cell], list[list["Text"]]]:
    return [cells[index] for index in wanted], [[row[index] for index in wanted] for row in texts]


def _lines_below(shown: Sequence[tuple[Cell, str]]) -> Iterator[str]:
    """Wide texts as they are, each on a line of its own; prose wrapped; the others behind their titles,
    as many on a line as fit."""
    from textwrap import wrap

    width = max(terminal_width() - len(INDENT), 1)
    lines: list[str] = []
    for cell, text in sorted(shown, key=lambda each: each[0].wide or each[0].prose):
        titled = f"{cell.title} {text}"
        if cell.wide:
            lines.append(text)
        elif cell.prose:
            lines += wrap(text, width, break_long_words=False, break_on_hyphens=False)
        elif lines and len(lines[-1]) + len(titled) + 2 <= width:
            lines[-1] += f"  {titled}"
        else:
            lines.append(titled)
    yield from (INDENT + line for line in lines)


def _bare_table() -> "Table":
    from rich.table import Table

    return Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)


def _table(cells: Sequence[Cell], texts: Sequence[Sequence["Text"]]) -> "Table":
    table = _bare_table()
    table.show_header = True
    for cell in cells:
        justify: Literal["left", "right"] = "right" if cell.right else "left"
        title = _text(cell.title, "bold")
        table.add_column(title, justify=justify, no_wrap=not cell.prose, overflow="fold" if cell.prose else "ellipsis")
    for row in texts:
        table.add_row(*row)
    return table


def _styled(cell: Cell, row: Fields) -> "Text":
    text = printable(cell.text(row))
    return _text(text, STATUS_STYLES.get(text, "") if cell.style is None else cell.style(row))


def _text(text: str, style: str = "") -> "Text":
    """Never markup: values come from users."""
    from rich.text import Text

    return Text(text, style=style)


def terminal_width() -> int:
    """Columns of the terminal."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isdigit() and int(columns) > 0:
        return int(columns)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or 80
    except OSError:
        return 80


def _console(width: int, *, color: bool) -> "Console":
    from rich.console import Console

    system: Literal["auto"] | None = "auto" if color else None  # without colours, no bold either: plain text
    # Only with a height is rich's own idea of a dumb terminal, 80 columns, out of play.
    return Console(width=width, height=25, color_system=system, highlight=False, markup=False, emoji=False)


def _natural_width(table: "Table") -> int:
    from rich.measure import Measurement

    unlimited = _console(10_000, color=False)
    return Measurement.get(unlimited, unlimited.options, table).maximum


def _least_width(cells: Sequence[Cell], texts: Sequence[Sequence["Text"]]) -> int:
    """Of a table whose prose is wrapped; the other columns are never cut."""
    rigid = [index for index, cell in enumerate(cells) if not cell.prose]
    return _natural_width(_table(*_chosen(cells, texts, rigid))) + (len(cells) - len(rigid)) * MIN_PROSE


def _rendered(table: "Table", *, color: bool, width: int | None = None) -> Iterator[str]:
    """As wide as the table needs: a terminal that is narrower wraps the lines itself, so that all can be copied."""
    console = _console(max(terminal_width(), _natural_width(table)) if width is None else width, color=color)
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        yield _END.sub(lambda end: "".join(_COLOR.findall(end[0])), line)
