"""What checks work with: a running container, models for it, a sample request, and the calls of the contract."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from emulator.errors import ContainerError, SetupError
from localmme.check.calls import TARGET_MODEL, Exchange
from localmme.check.container_under_test import STOP_SECONDS, ContainerRun, ContainerUnderTest, NotHealthy
from localmme.check.finding import fail, skip
from localmme.check.models import Model, Models, new_name

CONTROL_SECONDS = 10.0  # for a list or a get
MOST_PAGES = 1000
NO_LIST = 'the answer is not {"models": [{"modelName": ..., ...}]}'  # a problem of a list


@dataclass(frozen=True)
class Sample:
    """A request that the models should be able to answer; ``by_user``: from --data or the archives, not the default."""

    body: bytes
    content_type: str
    accept: str
    by_user: bool


@dataclass(frozen=True)
class Listing:
    """GET /models, all pages of it."""

    entries: list[dict[str, Any]]
    pages: int
    exchange: Exchange  # of the last page
    problem: str  # what is wrong with it; empty = it is valid

    def names(self) -> list[str]:
        """The names of the entries; those without a name are left out."""
        return [entry["modelName"] for entry in self.entries if "modelName" in entry]

    @property
    def nameless(self) -> bool:
        """Whether it has entries without a model's name."""
        return len(self.names()) < len(self.entries)


def is_unknown(answer: Exchange) -> bool:
    """Whether a model is not there, by the answer to GET. A 5xx does not say so: that is what the check get is for."""
    return answer.status < 500 and not answer.ok


@dataclass(frozen=True)
class FullMemory:
    """A container whose memory is full of models."""

    loaded: list[Model]
    refused: Model
    answer: Exchange  # to the load of that one
    served: int  # the status with which the first one answered the sample, when there was room


class Harness:
    """Shared by all checks. After each check, the models that it has loaded are unloaded."""

    def __init__(self, under_test: ContainerUnderTest, models: Models, sample: Sample) -> None:
        self.under_test, self.models, self.sample = under_test, models, sample
        self.limits = under_test.limits
        self.run: ContainerRun | None = None  # None = nothing runs
        self.started_in = 0.0  # seconds
        self.slowest_load = 0.0  # seconds
        self.ever_loaded = False  # whether this run has had models
        self.full: FullMemory | None = None  # left for the next check
        self.cannot_fill = ""  # why memory cannot be filled
        self._kept: Model | None = None
        self.loaded: dict[str, Model] = {}

    # Life

    async def restart(self, *, shares_instance: bool = False) -> None:
        """Stop the container, and start a new run. Raises SetupError and NotHealthy."""
        await self.stop()
        self.run = run = self.under_test.new_run(shares_instance=shares_instance)
        self.started_in = await run.start()

    async def stop(self, kill_seconds: float = STOP_SECONDS) -> float:
        """Stop the container, with SIGKILL ``kill_seconds`` after SIGTERM. Returns the seconds that it took."""
        run, self.run, self.full = self.run, None, None
        self.ever_loaded, self._kept = False, None
        self.loaded.clear()
        return await run.stop(kill_seconds) if run is not None else 0.0

    async def fresh(self) -> None:
        """Restart the container unless it never had a model. Ends the check if it does not become healthy."""
        if self.run is not None and not self.ever_loaded:
            return
        try:
            await self.restart()
        except (NotHealthy, SetupError) as error:
            fail(f"The container could not be started a second time. {error}")

    @property
    def running(self) -> ContainerRun:
        assert self.run is not None
        return self.run

    async def memory(self) -> int:
        """Bytes in use by the container. Ends the check where that cannot be measured."""
        if not self.under_test.is_ours:
            skip("The memory of a container that runs already cannot be measured from here.")
        return await self.running.container.memory_used()

    # Calls

    async def call(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Iterable[tuple[str, str]] = (),
        timeout: float = CONTROL_SECONDS,
    ) -> Exchange:
        return await self.running.caller.call(method, path, body, headers, timeout=timeout)

    async def ping(self) -> Exchange:
        """GET /ping, with the platform's time-out of 2 s."""
        return await self.call("GET", "/ping", timeout=self.limits.ping_seconds)

    async def load(self, model: Model, url: str | None = None) -> Exchange:
        """POST /models. ``url`` replaces the model's directory."""
        if url is None:
            try:
                url = await self.running.container.deliver(model.directory)
            except ContainerError as error:
                fail(f"The model could not be brought to the container: {error}.")
        self.ever_loaded = True
        self.loaded[model.name] = model  # also after an error, as it may be loaded nevertheless
        answer = await self.post_models({"model_name": model.name, "url": url}, model.target_model)
        if answer.ok:
            self.slowest_load = max(self.slowest_load, answer.seconds)
        return answer

    async def post_models(self, content: Any, target_model: str = "") -> Exchange:
        """POST /models with a body: JSON, or bytes sent unchanged."""
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        headers = [("Content-Type", "application/json")]
        if target_model:
            headers.append((TARGET_MODEL, target_model))
        return await self.call("POST", "/models", body, headers, self.limits.load_seconds)

    async def get(self, model: Model) -> Exchange:
        return await self.call("GET", f"/models/{model.name}", headers=[(TARGET_MODEL, model.target_model)])

    async def unload(self, model: Model) -> Exchange:
        headers = [(TARGET_MODEL, model.target_model)]
        answer = await self.call("DELETE", f"/models/{model.name}", b"", headers, self.limits.unload_seconds)
        if answer.ok or answer.status == 404:
            self.loaded.pop(model.name, None)
        return answer

    async def invoke(
        self,
        model: Model,
        body: bytes | None = None,
        content_type: str | None = None,
        extra: Iterable[tuple[str, str]] = (),
        no_headers: bool = False,
    ) -> Exchange:
        """Invoke a model with the sample or another body; ``no_headers``: without Content-Type and Accept."""
        headers = []
        if not no_headers:
            headers.append(("Content-Type", content_type or self.sample.content_type))
            if self.sample.accept:
                headers.append(("Accept", self.sample.accept))
        extra = list(extra)
        if not any(name == TARGET_MODEL for name, _ in extra):
            headers.append((TARGET_MODEL, model.target_model))
        path = f"/models/{model.name}/invoke"
        body = self.sample.body if body is None else body
        return await self.call("POST", path, body, [*headers, *extra], self.limits.invocation_seconds)

    async def listing(self) -> Listing:
        """GET /models, page after page."""
        entries: list[dict[str, Any]] = []
        token, seen = "", set()
        for pages in range(1, MOST_PAGES + 1):
            query = f"?next_page_token={quote(token, safe='')}" if token else ""
            answer = await self.call("GET", f"/models{query}")
            content = answer.json()
            if answer.status != 200:
                return Listing(entries, pages, answer, f"GET /models is answered with {answer.received}")
            page = content.get("models") if isinstance(content, dict) else None
            if not isinstance(page, list) or not all(isinstance(entry, dict) for entry in page):
                return Listing(entries, pages, answer, NO_LIST)
            entries += page
            token = str(content.get("nextPageToken") or "")
            if not token:
                return Listing(entries, pages, answer, "")
            if token in seen:
                return Listing(entries, pages, answer, f"the page token {token!r} comes twice: the list has no end")
            seen.add(token)
        return Listing(entries, MOST_PAGES, answer, f"more than {MOST_PAGES} pages")

    # What checks need before they begin

    async def model(self) -> Model:
        """A loaded model that checks share while it stays loaded. Ends the check if it cannot be loaded."""
        if self._kept is None or self._kept.name not in self.loaded or is_unknown(await self.get(self._kept)):
            self._kept = await self.own_model()
        return self._kept

    def keep(self, model: Model) -> None:
        """Share this loaded model with further checks."""
        self._kept = model

    async def own_model(self) -> Model:
        """A loaded model that no other check has. Ends the check if it cannot be loaded."""
        model = await asyncio.to_thread(self.models.copy)
        answer = await self.load(model)
        if not answer.ok:
            skip("This check needs a loaded model, but loading one failed: see the check load.", answer)
        return model

    async def several(self, count: int) -> list[Model]:
        """``count`` loaded models. Ends the check if they cannot be loaded."""
        return [await self.own_model() for _ in range(count)]

    async def url_of_nothing(self) -> tuple[Model, str]:
        """A model whose directory does not exist, and its url."""
        near = await asyncio.to_thread(self.models.copy)
        url = await self.running.container.deliver(near.directory)
        name = new_name()
        directory = near.directory.parents[1] / name / "model"
        await asyncio.to_thread(self.models.remove, near)
        return Model(name, directory, f"missing-{name[:8]}.tar.gz", near.archive), url.replace(near.name, name)

    def unknown(self) -> Model:
        """A model that was never loaded."""
        name = new_name()
        return Model(
            name, self.under_test.models / name / "model", f"unknown-{name[:8]}.tar.gz", self.models.archives[0]
        )

    async def invoked(self, model: Model) -> Exchange:
        """The answer to the sample. Ends the check if the model does not answer it successfully."""
        answer = await self.invoke(model)
        if not answer.ok:
            skip(
                "This check needs a request that the model answers: "
                + ("see the check invoke." if self.sample.by_user else "set one with --data and --content-type."),
                answer,
            )
        return answer

    # Afterwards

    async def empty(self) -> None:
        """Unload everything."""
        self._kept = None
        await self.tidy()

    async def tidy(self) -> None:
        """Unload what the check under way has loaded, and delete its files."""
        self.full = None
        models = [model for model in self.loaded.values() if model is not self._kept]
        for model in models:
            answer = await self.unload(model)
            if not answer.status:  # it no longer answers
                break
        self.loaded = {self._kept.name: self._kept} if self._kept is not None else {}
        for model in models:
            await asyncio.to_thread(self.models.remove, model)


class TimeLimit:
    """A limited time for a part of a check."""

    def __init__(self, seconds: float) -> None:
        self._began, self._end = time.monotonic(), time.monotonic() + seconds

    @property
    def seconds(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self._began

    @property
    def is_up(self) -> bool:
        return time.monotonic() >= self._end
