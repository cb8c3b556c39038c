"""Reads options of a command line as these programs do: with pflag, https://pkg.go.dev/github.com/spf13/pflag."""

from __future__ import annotations

from collections.abc import Sequence

TRUE, FALSE = "", "false"  # values of switches; a switch that is on has none on a command line
# https://pkg.go.dev/strconv#ParseBool
BOOLEANS = {
    **dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), TRUE),
    **dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), FALSE),
}
Known = tuple[str, Sequence[str]]  # options, as the module getopt has them: "ab:" and ["all", "build="]
Options = list[tuple[str, str]]  # names, with their dashes, and values


def parse(words: Sequence[str], known: Known, *, stops_at_argument: bool = False) -> tuple[Options, list[str]]:
    """The options among the words, and the arguments; all that follows the first argument, if it ``stops_at_argument``.

    Raises ValueError for an option that is not known, or is not complete.
    """
    options, arguments, rest = Options(), list[str](), list(words)
    while rest:
        word = rest.pop(0)
        if word == "--":
            return options, [*arguments, *rest]
        if word == "-" or not word.startswith("-"):
            arguments.append(word)
            if stops_at_argument:
                return options, [*arguments, *rest]
        elif word.startswith("--"):
            name, equals, value = word.partition("=")
            options.append((name, _value(name, known, value if equals else None, rest)))
        else:
            options += _short(word[1:], known, rest)
    return options, arguments


def takes_value(name: str, known: Known) -> bool:
    """Whether an option is no switch. Raises ValueError when it is not known."""
    letters, names = known
    if f"{name[2:]}=" in names or (len(name) == 2 and f"{name[1]}:" in letters):
        return True
    if name[2:] in names or (len(name) == 2 and name[1] not in "-:" and name[1] in letters):
        return False
    raise ValueError(f"unknown option: {name}")


def _short(letters: str, known: Known, rest: list[str]) -> Options:
    """Switches, the last of which may be an option with a value: ``-qtNAME``, ``-t=NAME``, ``-q=false``."""
    options = Options()
    while letters:
        name, letters = f"-{letters[0]}", letters[1:]
        value = None
        if len(letters) > 1 and letters[0] == "=":
            value, letters = letters[1:], ""
        elif letters and takes_value(name, known):
            value, letters = letters, ""
        options.append((name, _value(name, known, value, rest)))
    return options


def _value(name: str, known: Known, value: str | None, rest: list[str]) -> str:
    if takes_value(name, known):
        if value is None and not rest:
            raise ValueError(f"option needs a value: {name}")
        return rest.pop(0) if value is None else value
    if value is not None and value not in BOOLEANS:
        raise ValueError(f"neither true nor false: {name}={value}")
    return TRUE if value is None else BOOLEANS[value]
