"""Tables for people. Nothing is ever cut: a column that does not fit beside the others gets lines of its own."""

import os
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
    """A header and one line for each row; two where the view's wide cell does not fit beside the others."""
    texts = [[_styled(cell, row) for cell in view.cells] for row in rows]
    table = _table(view.cells, texts)
    if _natural_width(table) <= terminal_width():
        yield from _rendered(table, color=color)
        return
    wide = next((index for index, cell in enumerate(view.cells) if cell.wide), None)
    if wide is None:
        yield from _rendered(table, color=color, width=_width_with_prose(view.cells, texts))
        return
    cells = [cell for index, cell in enumerate(view.cells) if index != wide]
    rest = [[text for index, text in enumerate(row) if index != wide] for row in texts]
    header, *lines = _rendered(_table(cells, rest), color=color)
    yield header
    for line, row in zip(lines, texts, strict=True):
        yield line
        if row[wide].plain:
            yield INDENT + row[wide].plain


def _bare_table() -> "Table":
    from rich.table import Table

    return Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)


def _table(cells: Sequence[Cell], texts: Sequence[Sequence["Text"]]) -> "Table":
    table = _bare_table()
    table.show_header = True
    for cell in cells:
        table.add_column(_text(cell.title, "bold"), justify="right" if cell.right else "left", no_wrap=not cell.prose)
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


def _width_with_prose(cells: Sequence[Cell], texts: Sequence[Sequence["Text"]]) -> int:
    """The terminal's, if it leaves something for the columns whose text is wrapped; the others are never cut."""
    rigid = [index for index, cell in enumerate(cells) if not cell.prose]
    table = _table([cells[index] for index in rigid], [[row[index] for index in rigid] for row in texts])
    return max(terminal_width(), _natural_width(table) + (len(cells) - len(rigid)) * MIN_PROSE)


def _rendered(table: "Table", *, color: bool, width: int | None = None) -> Iterator[str]:
    """As wide as the table needs: a terminal that is narrower wraps the lines itself, so that all can be copied."""
    console = _console(max(terminal_width(), _natural_width(table)) if width is None else width, color=color)
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        yield line.rstrip()
