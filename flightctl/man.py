"""Manual pages, made from the help: one for flightctl, one for each command."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from flightctl import __version__
from flightctl.cli import common_options, split_help
from flightctl.core.errors import ValidationError

_SECTION: Final = "1"


def write_pages(root: Any, folder: str) -> list[Path]:
    """Write ``flightctl.1``, ``flightctl-book.1`` … into the folder, made where it is missing; the files.

    ``root``: the context of the program. Raises ValidationError where they cannot be written.
    """
    target = Path(folder).expanduser()
    written = []
    try:
        target.mkdir(parents=True, exist_ok=True)
        for context in _contexts(root):
            file = target / f"{_name(context)}.{_SECTION}"
            file.write_text(page(context), encoding="utf-8")
            written.append(file)
    except OSError as error:
        raise ValidationError(
            f"the manual pages cannot be written to {folder}: {error.strerror or error}", hint="Name another folder."
        ) from None
    return written


def _contexts(context: Any) -> Iterator[Any]:
    yield context
    command = context.command
    if hasattr(command, "list_commands"):
        for name in command.list_commands(context):
            yield from _contexts(type(context)(command.get_command(context, name), info_name=name, parent=context))


def _name(context: Any) -> str:
    """``flightctl-bookings-list``; the batch, whose command is ``-``, is called by its name."""
    return "-".join("batch" if word == "-" else word for word in context.command_path.split())


def page(context: Any) -> str:
    """The page of one command, in the man macros."""
    command = context.command
    examples, description = split_help(command.help)
    exits = [paragraph for paragraph in description if paragraph.startswith("Exit codes:")]
    prose = [paragraph for paragraph in description if paragraph not in exits]
    line = " ".join(prose[0].split()).removesuffix(".") if prose else ""
    lines = [
        f'.TH "{_escaped(_name(context).upper())}" "{_SECTION}" "" "flightctl {__version__}" "flightctl"',
        ".nh",
        ".ad l",
        ".SH NAME",
        f"{_escaped(_name(context))} \\- {_escaped(line)}",
        ".SH SYNOPSIS",
        f".B {_escaped(context.command_path)}",
        _escaped(" ".join(command.collect_usage_pieces(context))),
        ".SH DESCRIPTION",
        *_paragraphs(prose),
    ]
    lines += _commands(context)
    common = common_options()
    own = [param for param in command.get_params(context) if param not in common]
    lines += _params("ARGUMENTS", context, [param for param in own if param.param_type_name == "argument"])
    lines += _params("OPTIONS", context, [param for param in own if param.param_type_name == "option"])
    lines += _params("OPTIONS OF EVERY COMMAND", context, common)
    if exits:
        lines += [".SH EXIT STATUS", *_statuses(exits[0])]
    if examples:
        lines += [".SH EXAMPLES", ".nf", *map(_escaped, _outdented(examples)), ".fi"]
    return "\n".join([*lines, *_see_also(context)]) + "\n"


def _outdented(examples: str) -> list[str]:
    return [line.removeprefix("  ") for line in examples.splitlines()[1:]]


def _paragraphs(prose: list[str]) -> Iterator[str]:
    for paragraph in prose:
        yield ".PP"
        yield _escaped(" ".join(paragraph.split()))


def _statuses(paragraph: str) -> Iterator[str]:
    """``0 done, 2 wrong input; with --wait also 8 still pending`` as the page's list."""
    for clause in " ".join(paragraph.partition(":")[2].split()).split("; "):
        condition, first, rest = re.match(r"(.*?)(\d+ |$)(.*)", clause).groups()  # type: ignore[union-attr]
        if condition:
            yield from (".PP", _escaped(condition.strip()))
        for entry in re.split(r", (?=\d)", first + rest):
            status, _, meaning = entry.partition(" ")
            if meaning:
                yield from (".TP", f".B {status}", _escaped(meaning))


def _commands(context: Any) -> Iterator[str]:
    if not hasattr(context.command, "lines"):
        return
    yield ".SH COMMANDS"
    for name, line in context.command.lines(context):
        yield from (".TP", f".B {_escaped(name)}", _escaped(line))


def _params(title: str, context: Any, params: Any) -> Iterator[str]:
    records = [record for param in params if (record := param.get_help_record(context)) is not None]
    if records:
        yield f".SH {title}"
    for names, text in records:
        yield from (".TP", f".B {_escaped(names)}", _escaped(" ".join(text.split())))


def _see_also(context: Any) -> Iterator[str]:
    related = [each for each in _contexts(context) if each.parent is context]
    if context.parent is not None:
        related.insert(0, context.parent)
    if related:
        yield ".SH SEE ALSO"
    for number, each in enumerate(related, start=1):
        yield f".BR {_escaped(_name(each))} ({_SECTION})" + ("," if number < len(related) else "")


def _escaped(text: str) -> str:
    """Text as the formatter prints it: no line a request, no character a macro's."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    text = text.replace("^", "\\(ha").replace("~", "\\(ti").replace("…", "...")
    return f"\\&{text}" if text.startswith(".") else text
