"""An endpoint: a name that takes invocations, and the production variants behind it."""

from __future__ import annotations

import asyncio
import itertools
import logging
import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from emulator.archives.directory_warnings import bare_models
from emulator.archives.source import ModelSource
from emulator.errors import SetupError
from emulator.events import EndpointStatus, Warned
from emulator.hosting import routing
from emulator.hosting.captured_variant import CapturedVariant
from emulator.hosting.definition import EndpointDefinition
from emulator.hosting.errors import (
    NotPossible,
    endpoint_not_in_service,
    inference_component_not_supported,
    session_not_found,
    variant_not_found,
)
from emulator.hosting.tasks import drained, gather_or_cancel
from emulator.hosting.variant import ProductionVariant
from emulator.hosting.workspace import Workspace
from emulator.invocation import Invocation

log = logging.getLogger("localmme")
TAKES_INVOCATIONS = ("InService", "Updating")
TRIES_AGAIN = 3  # [ours] to start an endpoint that was InService before its emulator, or its worker, ended
FIRST_PAUSE_SECONDS = 0.5  # [ours] between two of them; the next one is twice as long


class Endpoint:
    """One endpoint, from Creating to InService or Failed, through Updating and back, to Deleting."""

    def __init__(self, definition: EndpointDefinition, workspace: Workspace) -> None:
        """``workspace`` is the endpoint's own."""
        self.definition = definition
        self._status = self._failure_reason = ""
        self._limits = workspace.limits
        self._workspace, self.events = workspace, workspace.events
        self._numbers: defaultdict[str, Iterator[int]] = defaultdict(lambda: itertools.count(1))  # by variant name
        self._variants = self._new_variants(definition)
        self._starting_or_draining: list[ProductionVariant] = []  # on their way in or out, to which nothing is routed
        self._set_status("Creating")

    @property
    def status(self) -> str:
        """Creating, InService, Updating, Failed or Deleting. Each change is an EndpointStatus event."""
        return self._status

    @property
    def failure_reason(self) -> str:
        """Why it is Failed, or why its last change failed; empty = it did not."""
        return self._failure_reason

    async def start(self, tries: int = 1) -> None:
        """Bring the endpoint InService. Raises SetupError, with the reason, when it is Failed instead."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            tries -= 1
            try:
                with _as_setup_errors():
                    await gather_or_cancel(
                        asyncio.to_thread(source.check) for source in self._model_sources(self.definition)
                    )
                    await gather_or_cancel(variant.start() for variant in self._variants)
            except SetupError as error:
                await self._clear()
                if not tries:
                    self.fail(str(error))
                    raise
                self.events.publish(Warned(f"Endpoint {self.definition.name} is tried again: {error}"))
            else:
                await self._warn_of_bare_models()
                self._warn_of_explanations()
                self._set_status("InService")
                return
            await asyncio.sleep(pause)
            pause *= 2
            self._variants = self._new_variants(self.definition)

    async def _warn_of_bare_models(self) -> None:
        for source in self._model_sources(self.definition):
            if warning := await asyncio.to_thread(bare_models, source):
                self.events.publish(Warned(warning))

    def _warn_of_explanations(self) -> None:
        if self.definition.explained:
            words = "has an ExplainerConfig: on SageMaker, answers contain explanations; here, the model's answer only."
            self.events.publish(Warned(f"Endpoint {self.definition.name} {words}"))

    def fail(self, reason: str) -> None:
        """The endpoint is Failed from now on."""
        self._set_status("Failed", reason)

    def begin_update(self) -> None:
        """The endpoint is Updating from now on, until ``finish_update``.

        ``update`` or ``update_weights_and_capacities`` follows.
        """
        self._set_status("Updating")

    def begin_deletion(self) -> None:
        """The endpoint takes no more invocations. ``stop`` follows."""
        self._set_status("Deleting")

    async def update(self, definition: EndpointDefinition) -> None:
        """Replace all variants: the new ones are healthy before the old ones take no more.

        Between ``begin_update`` and ``finish_update``. Raises SetupError when a new one cannot be started: then the
        old ones go on.
        """
        with _as_setup_errors():
            starting = self._new_variants(definition)
            self._starting_or_draining += starting
            await gather_or_cancel(asyncio.to_thread(source.check) for source in self._model_sources(definition))
            await gather_or_cancel(variant.start() for variant in starting)
        self._starting_or_draining = [variant for variant in self._starting_or_draining if variant not in starting]
        self._starting_or_draining += self._variants
        self._variants, self.definition = starting, definition
        self._warn_of_explanations()

    async def update_weights_and_capacities(
        self, weights: Mapping[str, float], instance_counts: Mapping[str, int]
    ) -> None:
        """Change, by variant name, shares of the traffic and numbers of instances.

        Between ``begin_update`` and ``finish_update``. Raises SetupError when a new instance cannot be started: then
        all is as before.
        """
        scaled = [variant for variant in self._variants if variant.name in instance_counts]
        try:
            with _as_setup_errors():
                await gather_or_cancel(variant.prepare(instance_counts[variant.name]) for variant in scaled)
        except SetupError:
            for variant in scaled:
                variant.scale(len(variant.instances))
            raise
        for variant in scaled:
            variant.scale(instance_counts[variant.name])
        for variant in self._variants:
            variant.weight = weights.get(variant.name, variant.weight)

    async def finish_update(self, reason: str = "") -> None:
        """A change is over: the endpoint is InService, with the reason if it failed. [reports]

        Returns once what takes no more invocations is gone: when those that it had have ended, or after
        ``Limits.stream_invocation_seconds``.
        """
        self._set_status("InService", reason)
        draining = list(self._starting_or_draining)
        await asyncio.gather(self._stop_drained(draining), *(variant.stop_drained() for variant in self._variants))
        self._starting_or_draining = [variant for variant in self._starting_or_draining if variant not in draining]

    async def _stop_drained(self, draining: Sequence[ProductionVariant]) -> None:
        await drained(draining, self._limits.stream_invocation_seconds)
        await asyncio.gather(*(variant.stop() for variant in draining))

    async def stop(self) -> None:
        """Refuse new invocations, let those under way end (``Limits.drain_seconds``), stop the containers."""
        self.begin_deletion()
        await drained([*self._variants, *self._starting_or_draining], self._limits.drain_seconds)
        await self._clear()

    async def _clear(self) -> None:
        """End all that runs, and delete the disks."""
        await asyncio.gather(*(variant.stop() for variant in (*self._variants, *self._starting_or_draining)))
        await asyncio.to_thread(shutil.rmtree, self._workspace.directory, ignore_errors=True)

    @property
    def variants(self) -> Sequence[ProductionVariant]:
        """Those that take invocations."""
        return self._variants

    def variant(self, name: str) -> ProductionVariant:
        """The one of that name that takes invocations. Raises NotPossible when there is none."""
        for variant in self._variants:
            if variant.name == name:
                return variant
        raise NotPossible(f"Endpoint {self.definition.name} has no variant {name}.")

    def variant_for(self, invocation: Invocation) -> ProductionVariant:
        """The variant that takes an invocation. Raises the AwsError that SageMaker would answer with."""
        if self._status not in TAKES_INVOCATIONS:
            raise endpoint_not_in_service(self.definition.name, self._status)
        if invocation.inference_component:
            raise inference_component_not_supported(self.definition.name)
        if invocation.names_session:
            return self._variant_with_session(invocation)
        if not invocation.target_variant:
            return routing.by_weight(self._variants, self._workspace.generator)
        for variant in self._variants:
            if variant.name == invocation.target_variant:
                return variant
        raise variant_not_found(self.definition.name, invocation.target_variant)

    def _variant_with_session(self, invocation: Invocation) -> ProductionVariant:
        for variant in self._variants:
            if invocation.target_variant in ("", variant.name) and variant.has_session(invocation.session_id):
                return variant
        raise session_not_found(self.definition.name, (invocation.session_id or b"").decode())

    async def archives(self) -> dict[str, int]:
        """The archives that its multi-model containers can load: their sizes in bytes, by target model."""
        sizes: dict[str, int] = {}
        for source in self._model_sources(self.definition):
            try:
                sizes |= dict(await asyncio.to_thread(list, source.archives()))
            except SetupError as error:
                self.events.publish(Warned(f"What is in S3 cannot be listed: {error}"))
        return sizes

    def _new_variants(self, definition: EndpointDefinition) -> list[ProductionVariant]:
        variants: list[ProductionVariant] = []
        for variant in definition.variants:
            its_own = (variant, self._workspace.variant(variant.name), self._numbers[variant.name])
            capture = definition.data_capture
            variants.append(ProductionVariant(*its_own) if capture is None else CapturedVariant(*its_own, capture))
        return variants

    def _set_status(self, status: str, reason: str = "") -> None:
        if (status, reason) != (self._status, self._failure_reason):
            self._status, self._failure_reason = status, reason
            self.events.publish(EndpointStatus(status, reason))

    def _model_sources(self, definition: EndpointDefinition) -> list[ModelSource]:
        """Where the models of its multi-model containers are, each place once."""
        containers = (variant.model.multi_model for variant in definition.variants)
        places = {container.model_data: None for container in containers if container and container.model_data}
        return [self._workspace.model_source(place) for place in places]


@contextmanager
def _as_setup_errors() -> Iterator[None]:
    """Every exception becomes a SetupError, so that the endpoint leaves Creating or Updating whatever goes wrong."""
    try:
        yield
    except SetupError:
        raise
    except OSError as error:
        raise SetupError(f"The emulator cannot set up an instance: {error}.") from error
    except Exception as error:
        log.exception("setting up an instance failed inside the emulator")
        raise SetupError("The emulator failed; see its log.") from error
