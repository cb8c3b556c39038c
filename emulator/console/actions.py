"""What may be done from the emulator's page, and by commands on its machine: each action by its name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, NamedTuple

from emulator.events import ActionTaken, Events
from emulator.suggestions import did_you_mean

Members = Mapping[str, Any]
# Does it, and returns what is answered: "message", a sentence, and what else there is to say. Raises ActionRefused.
Action = Callable[[Members], Awaitable[dict[str, Any]]]
MOST_NAMED = 5  # [ours] names in a message
ORIGIN = ("endpoint_name", "variant_name", "instance_id", "container")  # members that an event's origin has too


class ActionRefused(Exception):
    """An action that cannot be taken. ``status`` is that of the answer; the message is a sentence."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.message, self.status = message, status


class _Known(NamedTuple):
    action: Action
    changes: bool


class Actions:
    """The actions that there are. Each one that was taken is an event."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._actions: dict[str, _Known] = {}

    def add(self, name: str, action: Action, *, changes: bool = True) -> None:
        """Take actions of this name from now on. One that ``changes`` nothing only says something, and is no event."""
        self._actions[name] = _Known(action, changes)

    async def take(self, name: str, members: Members) -> dict[str, Any]:
        """Raises ActionRefused."""
        known = self._actions.get(name)
        if known is None:
            raise ActionRefused(unknown("action", name, self._actions), 404)
        answer = await known.action(members)
        if known.changes:
            origin = {each: members[each] for each in ORIGIN if isinstance(members.get(each), str)}
            target_model = text_member(members, "target_model", "")
            self._events.within(**origin).publish(ActionTaken(name, answer["message"].rstrip("."), target_model))
        return answer


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """The sentence for a name that is not one of the known."""
    names = sorted(known)
    advice = did_you_mean(name, names) or (f"there is {', '.join(names[:MOST_NAMED])}" if names else "there is none")
    return f"There is no {what} {name[:100]!r}: {advice.rstrip('?.')}{'?' if advice.endswith('?') else '.'}"


def text_member(members: Members, name: str, default: str | None = None) -> str:
    """A member that is a text. Raises ActionRefused if it is missing and has no default, or is no text."""
    value = members.get(name, default)
    if not isinstance(value, str):
        raise ActionRefused(f"{name} is missing." if value is None else f"{name} is not a text: {value!r:.100}.")
    return value
