"""A production variant of an endpoint with data capture. Without it, an invocation does not come here at all."""

from __future__ import annotations

from collections.abc import Iterator

from emulator.containers.contract import Answer
from emulator.data_capture import DataCapture
from emulator.events import InvocationCaptured
from emulator.hosting.definition import VariantDefinition
from emulator.hosting.variant import ProductionVariant
from emulator.hosting.workspace import Workspace
from emulator.invocation import Invocation


class CapturedVariant(ProductionVariant):
    """Publishes a share of its invocations as InvocationCaptured: those with an answer, and no streams. [reports]"""

    def __init__(
        self, definition: VariantDefinition, workspace: Workspace, numbers: Iterator[int], capture: DataCapture
    ) -> None:
        super().__init__(definition, workspace, numbers)
        self._capture = capture

    async def invoke(self, invocation: Invocation, *, streamed: bool = False) -> Answer:
        """See ProductionVariant."""
        answer = await super().invoke(invocation, streamed=streamed)
        if not streamed and self._workspace.generator.random() * 100 < self._capture.sampling_percentage:
            event = InvocationCaptured(
                self._capture,
                self._clock.now(),
                invocation.body,
                invocation.content_type,
                answer.body,
                answer.header(b"content-type"),
                invocation.custom_attributes,
                invocation.inference_id,
            )
            self._events.publish(event)
        return answer
