"""``flightctl completion``."""

from enum import StrEnum
from typing import Annotated

import typer

from flightctl.cli import choice, command, command_app, session_of

app = command_app()


class Shell(StrEnum):
    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


@command(app, "completion")
def completion(
    ctx: typer.Context,
    shell: Annotated[str, typer.Argument(metavar="SHELL", help="bash, zsh or fish.")],
) -> None:
    """Examples:
      flightctl completion bash > ~/.local/share/bash-completion/completions/flightctl
      flightctl completion zsh > ~/.zfunc/_flightctl
      flightctl completion fish > ~/.config/fish/completions/flightctl.fish

    Print the script that completes flightctl's command lines.

    It completes commands, options, their values, airports by code or city, and the latest bookings,
    flights and payments of the database that the environment names; none where it is down.

    Exit codes:
      0 printed, 2 no such shell
    """
    from flightctl import completion_tree
    from flightctl.render import print_text

    session_of(ctx)
    name = choice(Shell, shell, "shell")
    print_text(completion_tree.script(name))
    completion_tree.write_in_background()
