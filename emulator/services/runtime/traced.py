"""SageMaker Runtime whose calls are traced: a class of its own, so that without traces a call pays nothing for them."""

from __future__ import annotations

from collections.abc import Callable

from emulator.aws.asgi import HeadersByName
from emulator.clock import Clock
from emulator.events import Events
from emulator.hosting.endpoints import Endpoints
from emulator.invocation import Invocation
from emulator.limits import Limits
from emulator.services.runtime.app import RuntimeApp
from emulator.services.runtime.faults import Faults


class TracedRuntimeApp(RuntimeApp):
    """Begins a trace with each call, or goes on with its caller's."""

    def __init__(
        self,
        begin: Callable[[Invocation, HeadersByName], None],
        endpoints: Endpoints,
        limits: Limits,
        events: Events,
        clock: Clock,
        faults: Faults | None = None,
    ) -> None:
        super().__init__(endpoints, limits, events, clock, faults)
        self._begin = begin

    def _invocation(
        self,
        endpoint_name: str,
        operation: str,
        headers: HeadersByName,
        body: bytes,
        request_id: str,
        received: float,
    ) -> Invocation:
        invocation = super()._invocation(endpoint_name, operation, headers, body, request_id, received)
        self._begin(invocation, headers)
        return invocation

    def _refused(
        self, endpoint_name: str, operation: str, headers: HeadersByName, request_id: str, received: float
    ) -> Invocation:
        invocation = super()._refused(endpoint_name, operation, headers, request_id, received)
        self._begin(invocation, headers)
        return invocation
