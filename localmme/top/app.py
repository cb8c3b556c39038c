"""The application: what it shows, and its keys."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Protocol

from rich.text import Text
from textual import on, work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Footer, Input, Static

from emulator.errors import SetupError
from emulator.printable import printable
from emulator.sizes import format_size
from localmme.event_stream import LOST, Message
from localmme.grid import ORDERS, row
from localmme.grid import names as grid_names
from localmme.live_state import LiveEndpoint, LiveState
from localmme.moments import shown_time
from localmme.tables import bar
from localmme.top.model_grid import ModelGrid

REFRESH_SECONDS = 0.5  # [ours] ages of models grow without a message
MOST_INSTANCES = 6  # lines; of more instances, those come first whose memory is fullest
EVENT_LINES = 6
SEVERITIES = {"warning": "yellow", "error": "bold red"}


class Stream(Protocol):
    """Where messages come from: see EventStream."""

    def messages(self) -> Iterator[Message]: ...

    def close(self) -> None: ...


class Confirmation(ModalScreen[bool]):
    """Asks before something is done."""

    CSS = "Confirmation { align: center middle; } Confirmation Static { width: auto; padding: 1 3; border: round; }"
    BINDINGS: ClassVar[list[BindingType]] = [("y", "dismiss(True)", "Yes"), ("n,escape,q", "dismiss(False)", "No")]

    def __init__(self, question: str) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        yield Static(Text(f"{printable(self._question)}\n\ny  yes     n  no"), id="question")


class Top(App[None]):
    """An emulator, live."""

    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #head, #filter { height: 1; }
    #head, #instances, #strip { text-wrap: nowrap; text-overflow: ellipsis; }
    #filter { border: none; padding: 0; display: none; }
    #instances, #events { height: auto; }
    #events { border-top: solid $panel; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q,ctrl+c", "quit", "Quit"),
        Binding("s", "order", "Sort"),
        Binding("slash", "filter", "Filter"),
        Binding("a", "active", "Active only"),
        Binding("e", "endpoint", "Endpoint"),
        Binding("u", "unload", "Unload"),
        Binding("escape", "unfilter", show=False),
    ]

    def __init__(self, stream: Stream, act: Callable[[str, dict[str, Any]], dict[str, Any]], url: str) -> None:
        """``act`` does one of the page's actions: see ``pages.act``."""
        super().__init__()
        self.state = LiveState()
        self.state.url = url
        self._stream = stream
        self._act = act
        self._problem = ""  # why there are no messages; empty = they come
        self._endpoint = ""
        # Kept, as a question is a screen of its own, on which they would not be found.
        self._head, self._instances, self._events = Static(id="head"), Static(id="instances"), Static(id="strip")
        self._filter = Input(placeholder="a part of the models' names", id="filter", compact=True)
        self._grid = ModelGrid()
        self._order = next(iter(ORDERS))
        self._active_only = False

    def compose(self) -> ComposeResult:
        yield self._head
        yield self._instances
        yield self._grid
        yield self._filter
        with Vertical(id="events"):
            yield self._events
        yield Footer(compact=True)

    def on_mount(self) -> None:
        self.screen.set_focus(self._grid)
        self.set_interval(REFRESH_SECONDS, self.show)
        self._follow()
        self.show()

    def on_unmount(self) -> None:
        self._stream.close()

    # What comes

    @work(thread=True, exit_on_error=False)
    def _follow(self) -> None:
        try:
            for message in self._stream.messages():
                self.call_from_thread(self._take, message)
        except SetupError as error:  # the user may not see it
            self.call_from_thread(self.exit, message=str(error), return_code=1)
        except RuntimeError:  # the application has ended meanwhile
            return

    def _take(self, message: Message) -> None:
        self._problem = str(message.data) if message.kind == LOST else ""
        if message.kind != LOST:
            self.state.apply(message.kind, message.data)
        # What is drawn must not name a model that is gone; all else can wait.
        if message.kind in (LOST, "state") or (message.kind == "models" and message.data["removed"]):
            self.show()

    @property
    def endpoint(self) -> LiveEndpoint | None:
        """The one that is shown; None = there is none."""
        there = self.state.endpoints
        return there.get(self._endpoint) or next(iter(there.values()), None)

    # What is shown

    def show(self) -> None:
        """Draw all of it anew."""
        endpoint = self.endpoint
        _update(self._head, self._headline(endpoint))
        _update(self._instances, _instances(endpoint) if endpoint else Text())
        _update(self._events, self._strip())
        if endpoint is None:
            self._grid.show([], [], None)
        else:
            names = grid_names(endpoint, self._order, self._filter.value, self._active_only)
            self._grid.show([*endpoint.instances], names, functools.partial(row, endpoint))

    def _headline(self, endpoint: LiveEndpoint | None) -> Text:
        head = Text()
        head.append("localmme ", "bold").append(printable(self.state.url))
        if endpoint is not None:
            head.append(f"  {printable(endpoint.name)} ", "bold").append(endpoint.status)
            if len(self.state.endpoints) > 1:
                number = [*self.state.endpoints].index(endpoint.name) + 1
                head.append(f" ({number} of {len(self.state.endpoints)})")
        elif not self._problem:
            head.append("  no endpoint" if self.state.run else "  connecting")
        if self._problem:
            head.append(f"  NOT CONNECTED, trying again: {printable(self._problem)}", "bold red")
        head.append(f"  by {self._order}" + (", active only" if self._active_only else ""))
        if endpoint is not None and endpoint.failure_reason:
            head.append(f"  {printable(endpoint.failure_reason)}", "bold red")
        return head

    def _strip(self) -> Text:
        strip, now = Text(), time.time()
        own = [
            each
            for each in self.state.events
            if self.endpoint is None or each["endpoint_name"] in ("", self.endpoint.name)
        ]
        for event in own[-EVENT_LINES:]:
            strip.append(f"{shown_time(event['time'], now)} ", "dim")
            where = " ".join(filter(None, [event["instance_id"], event["target_model"]]))
            strip.append(f"{printable(where)}: " if where else "", "bold")
            strip.append(f"{printable(event['text'])}\n", SEVERITIES.get(event["severity"], ""))
        strip.rstrip()
        return strip

    # Keys

    def action_order(self) -> None:
        """The next order of the rows."""
        orders = [*ORDERS]
        self._order = orders[(orders.index(self._order) + 1) % len(orders)]
        self.show()

    def action_active(self) -> None:
        """Only models that an instance has, or all."""
        self._active_only = not self._active_only
        self.show()

    def action_endpoint(self) -> None:
        """The next endpoint."""
        names = [*self.state.endpoints]
        if self.endpoint is not None:
            self._endpoint = names[(names.index(self.endpoint.name) + 1) % len(names)]
        self.show()

    def action_filter(self) -> None:
        """Type a part of the models' names."""
        self._filter.display = True
        self.screen.set_focus(self._filter)  # at once: the next key is for it

    def action_unfilter(self) -> None:
        """All models again."""
        self._filter.value, self._filter.display = "", False
        self.screen.set_focus(self._grid)
        self.show()

    @on(Input.Changed)
    def _typed(self) -> None:
        self.show()

    @on(Input.Submitted)
    def _chosen(self) -> None:
        self._filter.display = bool(self._filter.value)
        self.screen.set_focus(self._grid)

    @work
    async def action_unload(self) -> None:
        """Unload the selected model from the instances that have it in memory."""
        row, endpoint = self._grid.selected, self.endpoint
        if row is None or endpoint is None:
            return
        there = [
            name
            for name, place in zip(endpoint.instances, row.places, strict=True)
            if place in ("in_memory", "goes_next", "pinned")
        ]
        if not there:
            self.notify(f"{printable(row.target_model)} is not in memory.", markup=False)
            return
        if await self.push_screen_wait(Confirmation(f"Unload {row.target_model} from {' and '.join(there)}?")):
            self._unload({"endpoint_name": endpoint.name, "target_model": row.target_model})

    @work(thread=True, exit_on_error=False)
    def _unload(self, members: dict[str, Any]) -> None:
        try:
            answer, severity = str(self._act("unload-model", members)["message"]), "information"
        except (OSError, SetupError) as error:
            answer, severity = str(error), "error"
        self.call_from_thread(self.notify, printable(answer), severity=severity, markup=False)


def _update(widget: Static, text: Text) -> None:
    """Draw it if it is another text: over ssh, each drawing takes kilobytes."""
    if widget.content != text:
        widget.update(text)


def _instances(endpoint: LiveEndpoint) -> Text:
    text = Text()
    fullest = sorted(endpoint.instances.items(), key=lambda item: -_share(item[1]["memory"]))
    for name, instance in fullest[:MOST_INSTANCES] if len(fullest) > MOST_INSTANCES else endpoint.instances.items():
        memory, volume = instance["memory"], instance["volume"]
        restarts = sum(container["restarts"] for container in instance["containers"])
        text.append(printable(name), "bold")
        text.append(" healthy" if instance["healthy"] else " UNHEALTHY", "green" if instance["healthy"] else "bold red")
        text.append(f", {restarts} restarts" if restarts else "")
        text.append(f"  {instance['in_flight']} calls")
        text.append(f"  memory {bar(memory['used_bytes'], memory['budget_bytes'])} {format_size(memory['used_bytes'])}")
        text.append(f"/{format_size(memory['budget_bytes'])}")
        text.append(f"  disk {bar(volume['used_bytes'], volume['capacity_bytes'])} {format_size(volume['used_bytes'])}")
        expected = memory["expected_load_bytes"]
        text.append(f"  a load takes {format_size(expected)}" if expected else "")
        text.append(f"  next to go: {printable(memory['next_victim'])}" if memory["next_victim"] else "")
        text.append("\n")
    if len(fullest) > MOST_INSTANCES:
        text.append(f"and {len(fullest) - MOST_INSTANCES} instances more, whose memory is less full", "dim")
    text.rstrip()
    return text


def _share(memory: Any) -> float:
    return float(memory["used_bytes"] / memory["budget_bytes"]) if memory["budget_bytes"] else 0.0
