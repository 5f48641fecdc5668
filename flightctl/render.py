"""Data to stdout, in the form asked for. A terminal gets a table made for people, everything else one for programs."""

import csv
import io
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import IO, Any, NamedTuple

from flightctl.core.errors import InternalError
from flightctl.views.base import Fields, View, printable


class Output(NamedTuple):
    """``format``: table, json or csv; ``quiet``: ids only, whatever the format."""

    format: str
    quiet: bool = False
    color: bool = True
    pager: bool = True

    @property
    def is_terminal(self) -> bool:
        return sys.stdout is not None and sys.stdout.isatty()


class OutputError(InternalError):
    """stdout took no more, e.g. because the disk is full."""

    default_hint = "What the command did stands; only its report is incomplete."


def print_record(output: Output, view: View, record: Any) -> None:
    """One record: a JSON object, one row, or on a terminal one line for each field."""
    fields = view.fields(record)
    if output.quiet or output.format == "csv":
        _print_plain(output, view, [fields])
    elif output.format == "json":
        _write(_json(fields))
    elif output.is_terminal:
        from flightctl.render_terminal import record_lines

        _show_lines(output, record_lines(view, fields, color=output.color))
    else:
        _print_plain(output, view, [fields])


def print_rows(output: Output, view: View, records: Sequence[Any], document: Mapping[str, Any]) -> None:
    """Records of one kind; in JSON they stand in ``document``, which is complete."""
    if output.format == "json" and not output.quiet:
        _write(_json(document))
        return
    rows = [view.fields(record) for record in records]
    if output.format == "table" and output.is_terminal and not output.quiet:
        from flightctl.render_terminal import table_lines

        _show_lines(output, table_lines(view, rows, color=output.color) if rows else ())
    else:
        _print_plain(output, view, rows)


def print_text(text: str) -> None:
    """Text that is no record, as it is."""
    _write(text)


def _print_plain(output: Output, view: View, rows: Sequence[Fields]) -> None:
    if output.quiet:
        _write_lines(value for row in rows for value in view.ids(row))
        return
    table = [view.columns, *([_plain(value) for value in view.flat_row(row)] for row in rows)]
    if output.format == "csv":
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(table)
        _write(text.getvalue())
    else:
        _write_lines(
            "\t".join(printable(" ".join(value.splitlines()).replace("\t", " ")) for value in row) for row in table
        )


def _plain(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return " ".join(map(_plain, value))
    return str(value)


def _json(document: Mapping[str, Any]) -> str:
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"


def _show_lines(output: Output, lines: Iterable[str]) -> None:
    """On a terminal, through a pager where they are more than fit on it."""
    from flightctl.pager import page

    shown = list(lines)
    if not (output.pager and page(shown)):
        _write_lines(shown)


def _write_lines(lines: Iterable[str]) -> None:
    _write("".join(f"{line}\n" for line in lines))


def _write(text: str) -> None:
    """A reader that has gone (``| head``) is no failure: the exit status goes on to tell what the command did.

    Raises OutputError when stdout fails otherwise.
    """
    stream = sys.stdout
    if stream is None or not text:  # started with stdout closed
        return
    try:
        _as_utf8(stream)
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        abandon(stream)
    except OSError as error:
        abandon(stream)
        raise OutputError(f"standard output cannot be written: {error.strerror or error}") from None


def _as_utf8(stream: IO[str]) -> None:
    """Files and pipes get UTF-8 whatever the locale; a terminal keeps its encoding. A lone surrogate, from an argument
    that was not UTF-8, must not stop either."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(encoding=None if stream.isatty() else "utf-8", errors="backslashreplace", newline="\n")


def abandon(stream: IO[str]) -> None:
    """Send what is left in the stream's buffer nowhere; the interpreter would complain about it at exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)
