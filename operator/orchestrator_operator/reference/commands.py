"""Every command: usage, arguments, options with their defaults, examples; as typer's own app has them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, get_args

import typer

from orchestrator.cli.main import app
from orchestrator_operator.reference.markdown import block, code, page, table

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM: Final = "orchestrator"
_INTRODUCTION: Final = """\
One program, `orchestrator`; `kubectl orchestrator` is the same one. Every command takes `--help`.

Exit codes that all commands share: 0 done, 1 it failed, 2 bad input, 130 interrupted. `--verbose` (before the command)
logs what happens to standard error, and standard output stays the answer."""
_EXAMPLE = re.compile(r"^\s*Examples?:\s*(.*)$")
_SEVERAL: Final = re.compile(r"several times|repeat", re.IGNORECASE)
_METAVARS: Final = {str: "TEXT", int: "NUMBER", float: "NUMBER"}


@dataclass(frozen=True, slots=True)
class Command:
    """A command as it is typed, with typer's own object for it."""

    typed: str
    found: Any
    below: tuple[str, ...]  # of a group: its commands


def commands() -> Iterator[Command]:
    """Every command and group, in the order of the help."""
    root = typer.main.get_command(app)
    yield from _below(PROGRAM, root, None)


def _below(typed: str, found: Any, parent: Any) -> Iterator[Command]:
    if not hasattr(found, "list_commands"):
        yield Command(typed, found, ())
        return
    context = typer.Context(found, info_name=typed, parent=parent)
    names = tuple(found.list_commands(context))
    yield Command(typed, found, names)
    for name in names:
        child = found.get_command(context, name)
        if child is not None and not child.hidden:
            yield from _below(f"{typed} {name}", child, context)


def render() -> str:
    """The page."""
    found = list(commands())
    listed = [(f"[{code(one.typed)}](#{_anchor(one.typed)})", _first(one.found.help)) for one in found if _runs(one)]
    return page("Commands", _INTRODUCTION, table(("command", "what it does"), listed), *map(_section, found))


def _runs(command: Command) -> bool:
    """Whether it does something by itself; a group may."""
    return not command.below or (command.found.invoke_without_command and command.typed != PROGRAM)


def _section(command: Command) -> str:
    said, examples = _said_and_examples(command.found)
    if command.typed == PROGRAM:
        return "\n\n".join([f"## {code(PROGRAM)}", said, _table(_options(command.found))])
    parts = [
        f"{'###' if command.typed.count(' ') > 1 else '##'} {code(command.typed)}",
        said,
        block("text", _usage(command)) if _runs(command) else "",
        _table(_arguments(command.found), "argument"),
        _table(_options(command.found)),
        "" if not examples else "Examples:" if len(examples) > 1 else "Example:",
        block("text", "\n".join(examples)) if examples else "",
    ]
    return "\n\n".join(part for part in parts if part)


def examples(command: Command) -> list[str]:
    """The lines that a command's help shows to be copied."""
    return _said_and_examples(command.found)[1]


def _said_and_examples(found: Any) -> tuple[str, list[str]]:
    """What a command says of itself, as paragraphs, and its examples, which stand in its help or below it."""
    said: list[str] = []
    shown: list[str] = []
    for text in ((found.help or ""), (found.epilog or "")):
        for paragraph in re.split(r"\n\s*\n", text.strip()):
            lines = paragraph.replace("\b", "").strip("\n").splitlines()
            if lines and (match := _EXAMPLE.match(lines[0])):
                shown += [line.strip() for line in (match[1], *lines[1:]) if line.strip()]
            elif lines and "\b" in paragraph:
                said.append(block("text", "\n".join(lines)))
            elif lines:
                said.append(" ".join(line.strip() for line in lines))
    return "\n\n".join(said), shown


def _usage(command: Command) -> str:
    words = [command.typed, "[OPTIONS]"]
    for argument in _of_kind(command.found, "TyperArgument"):
        name = _metavar(argument) + ("…" if argument.nargs == -1 else "")
        words.append(name if argument.required else f"[{name}]")
    return " ".join(words)


def _arguments(found: Any) -> list[tuple[str, str, str]]:
    return [(code(_metavar(one)), _default(one), _meaning(one)) for one in _of_kind(found, "TyperArgument")]


def _options(found: Any) -> list[tuple[str, str, str]]:
    return [
        (", ".join(code(spelling) for spelling in _spellings(one)), _default(one), _meaning(one))
        for one in _of_kind(found, "TyperOption")
        if one.name != "help"
    ]


def _of_kind(found: Any, kind: str) -> list[Any]:
    return [param for param in found.params if type(param).__name__ == kind and not param.hidden]


def _spellings(option: Any) -> list[str]:
    if option.is_flag:
        return [*option.opts, *option.secondary_opts]
    first, *others = sorted(option.opts, key=len, reverse=True)
    return [f"{first} {_metavar(option)}", *others]


def _metavar(param: Any) -> str:
    if param.metavar:
        return str(param.metavar)
    if type(param).__name__ == "TyperArgument":
        return str(param.name).upper().rstrip("_")
    if words := _words(param):
        return "|".join(words)
    return _METAVARS.get(_annotation(param), str(param.name).upper().rstrip("_"))


def _annotation(param: Any) -> Any:
    return param.type_descriptor.annotation


def _words(param: Any) -> tuple[str, ...]:
    kind = next(iter(get_args(_annotation(param))), _annotation(param))  # of list[Status]: Status
    return tuple(str(one.value) for one in kind) if isinstance(kind, type) and issubclass(kind, Enum) else ()


def _default(param: Any) -> str:
    if param.required:
        return "required"
    if param.envvar:
        return f"${param.envvar}, else {_shown(param.default)}"
    if not param.show_default or (getattr(param, "is_flag", False) and not param.secondary_opts):
        return ""
    return _shown(param.default)


def _shown(value: Any) -> str:
    match value:
        case None | "" | ():
            return ""
        case Enum():
            return code(str(value.value))
        case bool():
            return "on" if value else "off"
        case _ if callable(value):
            return ""
        case _:
            return code(str(value))


def _meaning(param: Any) -> str:
    said = [param.help or ""]
    if type(param).__name__ == "TyperArgument" and (words := _words(param)):
        said.append(f"One of {', '.join(map(code, words))}.")
    if param.multiple and not _SEVERAL.search(said[0]):
        said.append("May be given several times.")
    if param.min is not None or param.max is not None:
        said.append(
            f"From {param.min} to {param.max}." if None not in {param.min, param.max} else f"At least {param.min}."
        )
    return " ".join(text for text in said if text)


def _table(rows: list[tuple[str, str, str]], what: str = "option") -> str:
    return table((what, "default", "meaning"), rows) if rows else ""


def _first(text: str | None) -> str:
    """The first sentence of a help."""
    paragraph = " ".join((text or "").strip().split("\n\n")[0].split())
    return re.split(r"(?<=[.!?])\s+(?=[A-Z`])", paragraph)[0]


def _anchor(typed: str) -> str:
    return typed.replace(" ", "-")
