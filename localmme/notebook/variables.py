"""What ``$name`` stands for on a magic's line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from numbers import Number
from pathlib import PurePath
from typing import Any

from emulator.errors import SetupError
from emulator.suggestions import did_you_mean
from localmme.notebook.function_handler import is_function
from localmme.notebook.handlers import Handlers

TAKE_FILES = ("serve", "pack")
ALONE = re.compile(r"(?:--[\w-]+=)?\$\{?([A-Za-z_]\w*)\}?")  # a word that is a variable as a whole


class Variables(Mapping[str, Any]):
    """The notebook's variables, as a command takes them.

    For ``invoke``, what is no text is JSON. For commands that take files, a function and a model are files that are
    written then: a function is the file of a handler, for ``serve`` and ``pack``; what has a method ``predict`` is the
    file of a model, for ``pack``.
    """

    def __init__(self, namespace: Mapping[str, Any], handlers: Handlers, words: Sequence[str]) -> None:
        self._namespace, self._handlers = namespace, handlers
        self._command = words[0] if words else None
        alone = [found[1] for word in words if (found := ALONE.fullmatch(word))]
        self._models = [name for name in alone if _is_model(namespace.get(name))]
        if self._command in TAKE_FILES and (missing := [name for name in alone if name not in namespace]):
            advice = did_you_mean(missing[0], [name for name in namespace if not name.startswith("_")])
            raise SetupError(f"The notebook has no variable {missing[0]}: {advice}".rstrip(": "))

    def __getitem__(self, name: str) -> Any:
        """Raises KeyError, and SetupError for what cannot be a file, or be sent."""
        value = self._namespace[name]
        if self._command == "invoke":
            return _sent(name, value)
        if self._command not in TAKE_FILES:
            return value
        if is_function(value):
            packs = self._command == "pack"
            return self._handlers.to_pack(name, self._models) if packs else self._handlers.of_function(name)
        if self._command == "pack" and _is_model(value):
            return self._handlers.of_model(name, value)
        if not isinstance(value, (str, PurePath, Number)):
            raise SetupError(
                f"${name} is no function, text or path: its type is {type(value).__name__}. "
                "A function of the notebook can be a handler, "
                f"by its own name: def predict(data): return {name}(data). Write a class below %%localmme handler."
            )
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._namespace)

    def __len__(self) -> int:
        return len(self._namespace)


def _is_model(value: Any) -> bool:
    return hasattr(value, "predict") and not isinstance(value, type)


def _sent(name: str, value: Any) -> str:
    """What a value is in a request: a text as it is, anything else as JSON. Raises SetupError."""
    if isinstance(value, (str, PurePath)):
        return str(value)
    try:
        return bytes(value).decode() if isinstance(value, (bytes, bytearray)) else json.dumps(value)
    except UnicodeDecodeError:
        raise SetupError(f"${name} is no text. Write it to a file, and send that: --data @FILE") from None
    except (TypeError, ValueError) as error:
        advice = "; send what its .tolist() returns" if hasattr(value, "tolist") else ""
        raise SetupError(f"${name} cannot be sent as JSON: {error}{advice}.") from None
