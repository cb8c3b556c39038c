"""What may be done from the emulator's page, and by commands on its machine: each action by its name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from emulator.suggestions import did_you_mean

Members = Mapping[str, Any]
# Does it, and returns what is answered: "message", a sentence, and what else there is to say. Raises ActionRefused.
Action = Callable[[Members], Awaitable[dict[str, Any]]]


class ActionRefused(Exception):
    """An action that cannot be taken. ``status`` is that of the answer; the message is a sentence."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.message, self.status = message, status


class Actions:
    """The actions that there are."""

    def __init__(self) -> None:
        self._actions: dict[str, Action] = {}

    def add(self, name: str, action: Action) -> None:
        """Take actions of this name from now on."""
        self._actions[name] = action

    async def take(self, name: str, members: Members) -> dict[str, Any]:
        """Raises ActionRefused."""
        action = self._actions.get(name)
        if action is None:
            advice = did_you_mean(name, self._actions)
            raise ActionRefused(f"There is no action {name[:100]!r}{'; ' if advice else '.'}{advice}", 404)
        return await action(members)


def text_member(members: Members, name: str, default: str | None = None) -> str:
    """A member that is a text. Raises ActionRefused if it is missing and has no default, or is no text."""
    value = members.get(name, default)
    if not isinstance(value, str):
        raise ActionRefused(f"{name} is missing." if value is None else f"{name} is not a text: {value!r:.100}.")
    return value
