"""A YAML file as plain values, the line of each of them, and its problems as one error."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import SafeConstructor

from emulator.aws.service_models import Place, dotted_path
from emulator.errors import SetupError

_TAG = "tag:yaml.org,2002:"
Located = tuple[int, Place, str]  # a problem: its line, from 1, its place in the document, and what is wrong there


class NotYaml(Exception):
    """A text that cannot be read as YAML; ``line`` counts from 1."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


class _JsonLoader(yaml.SafeLoader):
    """Also reads numbers of JSON that are strings in YAML 1.1, such as 1e-05."""


_JsonLoader.add_implicit_resolver(
    _TAG + "float", re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?[eE][-+]?[0-9]+$"), list("-0123456789")
)


class YamlSource:
    """One document. Raises NotYaml when the text is not valid YAML.

    ``value`` is made of dicts with strings as keys, lists and scalars; None for an empty document.
    ``problems`` are keys that are there twice, and what only a program could make sense of, with their lines.
    """

    def __init__(self, text: str) -> None:
        self.problems: list[Located] = []
        self._root = _compose(text)
        self._values: dict[int, Any] = {}  # by the node's id: an alias is the same node again
        self._under_way: set[int] = set()
        self._scalars = SafeConstructor()
        self.value = None if self._root is None else self._value(self._root, ())

    def line(self, place: Place) -> int:
        """The line of a key or an item, from 1; of a missing one, the line where it would belong."""
        node, line = self._root, 1
        for step in place:
            if isinstance(node, yaml.MappingNode) and step in (pairs := self._pairs(node)):
                key, node = pairs[str(step)]
                line = key.start_mark.line + 1
            elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
                node = node.value[step]
                line = node.start_mark.line + 1
            else:
                break
        return line

    def unquoted(self, place: Place) -> str:
        """The text of an unquoted scalar, as written; else an empty string."""
        node = self._root
        for step in place:
            if isinstance(node, yaml.MappingNode) and step in (pairs := self._pairs(node)):
                node = pairs[str(step)][1]
            elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
                node = node.value[step]
            else:
                return ""
        return node.value if isinstance(node, yaml.ScalarNode) and node.style is None else ""

    def _value(self, node: yaml.Node, place: Place) -> Any:
        if id(node) in self._under_way:
            self._report(node, place, "is an alias of something that it is itself a part of")
            return None
        if id(node) not in self._values:
            self._under_way.add(id(node))
            self._values[id(node)] = self._constructed(node, place)
            self._under_way.remove(id(node))
        return self._values[id(node)]

    def _constructed(self, node: yaml.Node, place: Place) -> Any:
        if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
            self._check_keys(node, place)
            return {name: self._value(item, (*place, name)) for name, (_, item) in self._pairs(node).items()}
        if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
            return [self._value(item, (*place, position)) for position, item in enumerate(node.value)]
        if not isinstance(node, yaml.ScalarNode):
            self._report(node, place, f"has an unknown tag: {node.tag.replace(_TAG, '!!')}")
            return None
        try:
            value = self._scalars.construct_object(node)
        except yaml.MarkedYAMLError:
            self._report(node, place, f"has an unknown tag: {node.tag.replace(_TAG, '!!')}")
        except ValueError as error:  # such as the date 2024-13-01
            self._report(node, place, f"cannot be read: {error}. If it is meant as a string, put it in quotes")
        else:
            if isinstance(value, str) and "\0" in value:
                self._report(node, place, "has the character NUL in it")
            return _paired(value) if isinstance(value, str) else value
        return None

    def _pairs(self, node: yaml.MappingNode, merging: tuple[int, ...] = ()) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        """The key and value nodes by the key's text; those of ``<<: *anchor`` are overridden by the mapping's own."""
        merged: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        own: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key, value in node.value:
            if key.tag == _TAG + "merge":
                # Of several mappings, the first takes precedence.
                sources = value.value if isinstance(value, yaml.SequenceNode) else [value]
                for source in reversed(sources):
                    if isinstance(source, yaml.MappingNode) and id(source) not in merging:
                        merged.update(self._pairs(source, (*merging, id(node), id(source))))
            elif isinstance(key, yaml.ScalarNode):
                own.setdefault(key.value, (key, value))
        return merged | own

    def _check_keys(self, node: yaml.MappingNode, place: Place) -> None:
        lines: dict[str, int] = {}
        for key, value in node.value:
            if key.tag == _TAG + "merge":
                sources = value.value if isinstance(value, yaml.SequenceNode) else [value]
                if not all(isinstance(source, yaml.MappingNode) for source in sources):
                    self._report(key, (*place, "<<"), "takes mappings only")
            elif not isinstance(key, yaml.ScalarNode):
                self._report(key, place, "has a key that is not a string")
            elif key.value in lines:
                self._report(key, (*place, key.value), f"is there twice: it is already on line {lines[key.value]}")
            else:
                lines[key.value] = key.start_mark.line + 1

    def _report(self, node: yaml.Node, place: Place, message: str) -> None:
        self.problems.append((node.start_mark.line + 1, place, message))


def read_source(path: Path, purpose: str) -> YamlSource:
    """A file's document. Raises SetupError; ``purpose`` is a sentence for when there is no such file."""
    try:
        return YamlSource(path.expanduser().read_bytes().decode("utf-8-sig"))
    except FileNotFoundError:
        raise SetupError(f"There is no file {path}. {purpose}") from None
    except OSError as error:
        raise SetupError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise SetupError(f"{path}:{line}: the file is not UTF-8 text") from None
    except NotYaml as error:
        raise SetupError(f"{path}:{error.line}: {error}") from None


def as_error(path: Path, problems: Iterable[Located]) -> SetupError:
    """All problems of a file, by line: ``FILE:LINE: KEY: MESSAGE`` each.

    The key of an item's member is without the item's: the line shows that.
    """
    lines = []
    for line, place, message in sorted(problems, key=lambda problem: problem[0]):
        key = dotted_path(place[2:]) or dotted_path(place)
        lines.append(f"{path}:{line}: {key}: {message}" if key else f"{path}:{line}: {message}")
    return SetupError("\n".join(dict.fromkeys(lines)))


def _compose(text: str) -> yaml.Node | None:
    is_json = text.lstrip().startswith("{")
    if is_json:
        text = text.replace("\t", " ")  # JSON may be indented by tabs, and has none in its strings
    try:
        return yaml.compose(text, _JsonLoader if is_json else yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark  # one or the other is there
        yaml_says = ", ".join(filter(None, (error.context, error.problem)))
        if "'\\t'" in (error.problem or ""):
            yaml_says = "a tab: YAML is indented by spaces only"
        if error.problem == "mapping values are not allowed here":
            yaml_says += ": put a text that ends with a colon, or has one before a space, in quotes"
        raise NotYaml(mark.line + 1 if mark else 1, yaml_says) from None
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        raise NotYaml(line, f"the character {error.character:#x} is not allowed in YAML") from None
    except RecursionError:
        raise NotYaml(1, "the file is nested too deeply") from None


def _paired(text: str) -> str:
    # JSON writes a character such as an emoji as two escapes, which YAML takes for two characters.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if not text.isascii() else text
