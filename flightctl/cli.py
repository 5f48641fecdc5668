"""What all commands share: the options every one takes, help that starts with examples, and loading on first use."""

import re
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from functools import cache
from importlib import import_module
from inspect import cleandoc
from typing import Annotated, Any, ClassVar, Final, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command as build_command
from typer.main import get_group as build_group

from flightctl.core.errors import UsageError, ValidationError
from flightctl.errors_shown import one_line, unknown_command
from flightctl.production import changes
from flightctl.session import FORMATS, Session

HELP_WIDTH: Final = 100
"""Columns that help may take; narrower on a narrower terminal."""
CONTEXT: Final = {"help_option_names": ["-h", "--help"], "max_content_width": HELP_WIDTH}

Function = TypeVar("Function", bound=Callable[..., Any])
Choice = TypeVar("Choice", bound=StrEnum)

_WHOLE_NUMBER: Final = re.compile(r"[+-]?\d{1,18}", re.ASCII)

# Typer's own click is private, so contexts, parameters and formatters of overridden methods are Any.


def _remember(ctx: typer.Context, param: typer.CallbackParam, value: Any) -> None:
    """Groups are parsed before their commands: what stands nearest to the command wins."""
    if value is None or value is False or ctx.resilient_parsing:
        return
    if param.name == "output":
        value = value.strip().lower()
        if value not in FORMATS:
            raise typer.BadParameter(f"{value!r} is not one of {', '.join(FORMATS)}")
    setattr(ctx.find_root().obj, param.name, value)


def _common(
    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", metavar="|".join(FORMATS), help="Form of the data (FLIGHTCTL_OUTPUT; table).",
            callback=_remember, expose_value=False,
        ),
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print ids only.", callback=_remember, expose_value=False)
    ] = False,
    no_color: Annotated[
        bool, typer.Option("--no-color", help="No colours (NO_COLOR).", callback=_remember, expose_value=False)
    ] = False,
    no_pager: Annotated[
        bool,
        typer.Option("--no-pager", help="No pager (FLIGHTCTL_PAGER).", callback=_remember, expose_value=False),
    ] = False,
    utc: Annotated[
        bool, typer.Option("--utc", help="Flight times in UTC.", callback=_remember, expose_value=False)
    ] = False,
    config: Annotated[
        str | None,
        typer.Option(
            "--config", metavar="FILE", help="Settings (FLIGHTCTL_CONFIG).", callback=_remember, expose_value=False
        ),
    ] = None,
    context: Annotated[
        str | None,
        typer.Option(
            "--context", metavar="NAME", help="Servers of the file of contexts (FLIGHTCTL_CONTEXT).",
            callback=_remember, expose_value=False,
        ),
    ] = None,
    actor: Annotated[
        str | None,
        typer.Option(
            "--actor", metavar="NAME", help="The who of events (FLIGHTCTL_ACTOR; the system's user).",
            callback=_remember, expose_value=False,
        ),
    ] = None,
) -> None:  # fmt: skip
    """Only its parameters are used: typer makes them into the options of every command and group."""


def inherit(session: Session, parent: Session) -> None:
    """Give ``session`` the options of every command that ``parent`` was given, as if they stood before its own."""
    for param in common_options():
        setattr(session, param.name, getattr(parent, param.name))


@cache
def common_options() -> tuple[Any, ...]:
    """The options of every command."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command()(_common)
    return tuple(build_command(app).params)


def split_help(text: str | None) -> tuple[str, list[str]]:
    """The examples and the other paragraphs of a command's docstring."""
    paragraphs = cleandoc(text or "").split("\n\n")
    if paragraphs[0].startswith("Examples:"):
        return paragraphs[0], paragraphs[1:]
    return "", [paragraph for paragraph in paragraphs if paragraph]


class _LightCoercion:
    """Text, whole numbers and flags without pydantic, whose import would cost every command a tenth of a second."""

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        if not isinstance(value, str) or param.type_descriptor.annotation is not int:
            return value
        if not _WHOLE_NUMBER.fullmatch(value):
            name = param.opts[0] if param.param_type_name == "option" else param.metavar
            raise typer.BadParameter(f"{name} takes a whole number, not {value[:40]!r}")
        return int(value)


def _lightened(params: list[Any]) -> list[Any]:
    """The same parameters. A Typer that does not ask them for it would do its own coercion."""
    for param in params:
        if param.type_descriptor.annotation in {str, int, bool, list[str]}:
            param.get_runtime_param = _LightCoercion
    return params


class _Helpful:
    """Help as plain text: examples, usage, description, then the options, those of every command last."""

    help: str | None

    def get_params(self, ctx: Any) -> list[Any]:
        return _lightened([*super().get_params(ctx), *common_options()])  # type: ignore[misc]

    def get_short_help_str(self, limit: int = 45) -> str:
        _, description = split_help(self.help)
        return " ".join(description[0].split()) if description else ""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        examples, description = split_help(self.help)
        if examples:
            formatter.write(examples + "\n\n")
        self.format_usage(ctx, formatter)  # type: ignore[attr-defined]
        for paragraph in description:
            formatter.write_paragraph()
            heading, indented, text = paragraph.partition(":\n  ")
            if indented:
                formatter.write(heading + ":\n")
                with formatter.indentation():
                    formatter.write_text(cleandoc(text))
            else:
                formatter.write_text(paragraph)
        self.format_options(ctx, formatter)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        common = common_options()
        own = [param for param in self.get_params(ctx) if param not in common]
        _section(ctx, formatter, "Arguments", [param for param in own if param.param_type_name == "argument"])
        self.format_commands(ctx, formatter)
        _section(ctx, formatter, "Options", [param for param in own if param.param_type_name == "option"])
        _section(ctx, formatter, "Options of every command", common)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """A command has none; groups write theirs."""


def _section(ctx: Any, formatter: Any, title: str, params: Any) -> None:
    rows = [record for param in params if (record := param.get_help_record(ctx)) is not None]
    if rows:
        with formatter.section(title):
            formatter.write_dl(rows)


class Command(_Helpful, TyperCommand):
    """One command. Its function takes the context and finds the ``Session`` there."""

    def invoke(self, ctx: Any) -> Any:
        path = ctx.command_path.partition(" ")[2]
        ctx.obj.changes = changes(path, ctx.params)
        ctx.obj.start(path)
        return super().invoke(ctx)


class Group(_Helpful, TyperGroup):
    """Commands under one word, known by name and line of help before any is loaded."""

    def lines(self, ctx: Any) -> Iterator[tuple[str, str]]:
        """Name and one line of help of each command."""
        for name in self.list_commands(ctx):
            command = self.get_command(ctx, name)
            if command is not None:
                yield name, command.get_short_help_str()

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(self.lines(ctx)))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:
            typer.echo(ctx.get_help() + "\n", err=True)
            raise UsageError("missing command", hint="The above tells which there are.")
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            raise unknown_command(args[0], self.list_commands(ctx), ctx.command_path)
        return super().resolve_command(ctx, args)


class LazyGroup(Group):
    """A group whose commands are modules of ``flightctl.commands``, imported when one is used."""

    table: ClassVar[Mapping[str, str]] = {}
    """Name of the command, which is its module's too, and its line of help (a test compares it with the command's)."""
    modules: ClassVar[Mapping[str, str]] = {}
    """The module of a command whose name cannot be that of one."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self.table)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in self.table:
            return None
        if cmd_name not in self.commands:
            app: typer.Typer = import_module(f"flightctl.commands.{self.modules.get(cmd_name, cmd_name)}").app
            self.commands[cmd_name] = build_group(app) if app.info.name else build_command(app)
        return self.commands[cmd_name]

    def lines(self, ctx: Any) -> Iterator[tuple[str, str]]:
        yield from self.table.items()


def command_app() -> typer.Typer:
    """For a module that is one command."""
    return typer.Typer(add_completion=False, rich_markup_mode=None)


def group_app(name: str, help_text: str) -> typer.Typer:
    """For a module that is a group; ``help_text`` begins with its examples."""
    return typer.Typer(name=name, cls=Group, help=help_text, add_completion=False, rich_markup_mode=None)


def command(app: typer.Typer, name: str, cls: type[Command] = Command) -> Callable[[Function], Function]:
    """Register a function, whose docstring begins with examples, as a command of ``app``."""
    return app.command(name, cls=cls)


def session_of(ctx: typer.Context) -> Session:
    session = ctx.find_root().obj
    assert isinstance(session, Session)
    return session


def choice(kind: type[Choice], text: str, what: str) -> Choice:
    """The member of ``kind`` that ``text`` names in any case. Raises ValidationError, naming the option ``what``."""
    for member in kind:
        if member.value.lower() == text.strip().lower():
            return member
    raise ValidationError(f"{what} {one_line(text, 40)!r} is not one of {', '.join(kind)}")
