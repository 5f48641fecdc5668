"""What may come next on a command line: for the shells' completion scripts, and for `flightctl shell`.

A key pressed wants an answer at once, so this loads neither Typer nor SQLAlchemy: the commands come from a file that
was written from the real ones (``completion_tree``), airports from the shipped table, bookings and flights from one
small question to the database with a short deadline (``completion_values``). Whatever goes wrong is silence.
"""

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

COMMAND: Final = "__complete"
"""What the scripts call: ``flightctl __complete bash|zsh|fish WORD…``; the last word is the one being typed."""
WRITE: Final = ":write"
"""In place of a shell: have the file of the commands written."""
FILES: Final = ":files"
"""The line that asks the shell for its own file names."""

Tree = Mapping[str, Any]
"""A command: ``help``, ``options`` and ``arguments`` (lists of ``names``, ``help``, ``flag``, ``values``), and for a
group its ``commands`` by name. ``values``: a list of words, or the name of a kind of them."""
Find = Callable[[str, str], "Sequence[Candidate]"]
"""Values of a kind (``airport``, ``booking`` …) that begin as typed."""


class Candidate(NamedTuple):
    value: str
    about: str = ""


class Place(NamedTuple):
    """Where the cursor is: in which command, behind how many of its arguments, or behind which option."""

    command: Tree
    arguments: int
    option: Mapping[str, Any] | None
    options_end: bool


def complete(tree: Tree, words: Sequence[str], current: str, find: Find) -> list[Candidate]:
    """Candidates for ``current`` behind ``words`` (without the program's name). ``Candidate(FILES)`` asks for files."""
    words, current = _joined(words, current)
    found = _candidates(tree, words, current, find)
    typed = current.partition("=")[2] if current.startswith("--") else current
    # A shell puts what several have in common in place of what was typed: L for lon, from LHR and LGW.
    alike = [each for each in found if each.value.rpartition("=")[2].casefold().startswith(typed.casefold())]
    return found if len(found) == 1 or ("=" not in current and current.startswith("-")) else alike


def _candidates(tree: Tree, words: Sequence[str], current: str, find: Find) -> list[Candidate]:
    place = _walk(tree, words)
    if place is None:
        return []
    if place.option is not None:
        return _values(place.option, current, find)
    if current.startswith("-") and not place.options_end:
        name, equals, value = current.partition("=")
        if equals:
            option = _option(place.command, name)
            found = _values(option, value, find) if option is not None and not option["flag"] else []
            return [each if each.value == FILES else Candidate(f"{name}={each.value}", each.about) for each in found]
        return list(_options(place.command, current))
    commands = place.command.get("commands")
    if commands is not None:
        return [Candidate(name, each["help"]) for name, each in commands.items() if name.startswith(current)]
    arguments = place.command["arguments"]
    if place.arguments < len(arguments):
        return _values(arguments[place.arguments], current, find)
    return []


def _joined(words: Sequence[str], current: str) -> tuple[list[str], str]:
    """bash takes ``--output=json`` for three words."""
    joined: list[str] = []
    for word in (*words, current):
        if joined and (word == "=" or joined[-1].endswith("=")) and joined[-1].startswith("--"):
            joined[-1] += word
        else:
            joined.append(word)
    last = joined.pop()
    if last != current and last.startswith("--"):  # bash completes what stands behind the sign
        name, _, value = last.partition("=")
        return [*joined, name], value
    return joined, last


def _walk(tree: Tree, words: Sequence[str]) -> Place | None:
    command, arguments, option, options_end = tree, 0, None, False
    for word in words:
        if option is not None:
            option = None
        elif word == "--" and not options_end:
            options_end = True
        elif word.startswith("-") and word != "-" and not options_end:
            name, equals, _ = word.partition("=")
            found = _option(command, name)
            if found is not None and not found["flag"] and not equals:
                option = found
        elif "commands" in command:
            if word not in command["commands"]:
                return None
            command = command["commands"][word]
        else:
            arguments += 1
    return Place(command, arguments, option, options_end)


def _option(command: Tree, name: str) -> Mapping[str, Any] | None:
    return next((option for option in command["options"] if name in option["names"]), None)


def _options(command: Tree, current: str) -> Iterator[Candidate]:
    for option in command["options"]:
        names = [name for name in option["names"] if name.startswith(current) and (current != "-" or name[1] == "-")]
        if names:
            yield Candidate(names[0], option["help"])


def _values(param: Mapping[str, Any], current: str, find: Find) -> list[Candidate]:
    values = param["values"]
    if isinstance(values, list):
        return [Candidate(value) for value in values if value.lower().startswith(current.lower())]
    if values == "file":
        return [Candidate(FILES)]
    return list(find(values, current)) if values else []


# --- for the shells


def main(arguments: Sequence[str]) -> None:
    """Answer the script of the shell ``arguments[0]``, one candidate a line, a tab before what it is about; and end the
    process, whatever a slow database is still doing."""
    from flightctl import completion_tree

    try:
        if arguments == [WRITE]:
            completion_tree.write()
            return
        shell, *words = arguments
        _print(shell, _answer(words))
        sys.stdout.flush()
        completion_tree.write_in_background()
    except Exception:  # noqa: BLE001  a line in somebody's prompt helps nobody
        if os.environ.get("FLIGHTCTL_DEBUG") == "1":
            import traceback

            traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(0)


def _answer(words: Sequence[str]) -> list[Candidate]:
    from flightctl import completion_tree, completion_values

    tree = completion_tree.load(words)
    find = completion_values.Finder(words)
    return complete(tree, words[:-1], words[-1] if words else "", find)


def _print(shell: str, candidates: Sequence[Candidate]) -> None:
    lines = []
    for value, about in candidates:
        text = "".join(char for char in about if char.isprintable())
        lines.append(f"{value}\t{text}\n" if text and shell != "bash" else f"{value}\n")
    sys.stdout.write("".join(lines))
