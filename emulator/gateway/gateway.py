"""One port, several services: admits a request, tells which one it is for, and sees to what its answer says."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from emulator.aws.asgi import Application, Receive, Scope, Send, send_answer
from emulator.aws.protocols import Refusal
from emulator.aws.request import HEALTH, PAGES, header, service_of
from emulator.gateway.ambiguity import Ambiguous, check_head
from emulator.gateway.refusals import ENDING, send_refusal
from emulator.gateway.response_headers import NO_PAGE, protected, shared
from emulator.gateway.web_guard import NotAdmitted, WebGuard, preflight
from emulator.services.moto_services.app import MotoServicesApp
from emulator.services.runtime.app import PREFIX as RUNTIME_PREFIX
from emulator.services.runtime.app import RuntimeApp
from emulator.services.s3.addressing import is_for_s3
from emulator.services.sagemaker import TARGET_PREFIX

if TYPE_CHECKING:
    from emulator.gateway.access.access_control import AccessControl
    from emulator.services.s3.app import S3App
    from emulator.services.sagemaker.app import SageMakerApp


class Gateway:
    """SageMaker Runtime by its path, SageMaker by its header, S3 by its signature or its buckets, other AWS services by
    their signature or their target.

    All else goes to ``others``, a Flask app.
    """

    def __init__(
        self,
        runtime: RuntimeApp,
        sagemaker: SageMakerApp,
        s3: S3App | None,
        neighbours: MotoServicesApp,
        others: Application,
        guard: WebGuard,
        access: AccessControl | None = None,
    ) -> None:
        self._runtime = runtime
        self._sagemaker = sagemaker
        self._s3 = s3
        self._neighbours = neighbours
        self._others = others
        self._guard = guard
        self._access = access
        self._is_ending = False
        self._under_way: set[asyncio.Task[Any]] = set()  # but invocations, which endpoints let come to their end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            page = self._guard.admit(scope)
        except NotAdmitted as refusal:
            await self._refuse(scope, receive, protected(send, NO_PAGE), refusal)
            return
        service, application = self._service(scope)
        if page and (answer := preflight(scope)) is not None:
            await send_answer(send, 204, shared(answer, page))
            return
        # An invocation is a POST, to which no browser can be led.
        send = protected(send, [] if service == "runtime" else NO_PAGE, page)
        try:
            check_head(scope, service)
        except Ambiguous as ambiguous:
            from emulator.gateway.access.denials import ambiguous_head

            await ambiguous_head(str(ambiguous), service, scope).send(scope, receive, send)
            return
        if self._access is not None and service:
            from emulator.gateway.access.denials import Refused

            try:
                receive = await self._access.admit(scope, receive, service)
            except Refused as refused:
                await refused.send(scope, receive, send)
                return
        if self._is_ending:
            await send_refusal(service, scope, ENDING, send)
        elif service == "runtime":
            await application(scope, receive, send)
        else:
            task = asyncio.current_task()
            assert task is not None
            self._under_way.add(task)
            try:
                await application(scope, receive, send)
            finally:
                self._under_way.discard(task)

    async def end(self) -> None:
        """Refuse what is under way, and what comes from now on: the services are about to be stopped."""
        self._is_ending = True
        for task in self._under_way:
            task.cancel()
        if self._under_way:
            await asyncio.wait(self._under_way)

    async def refuse(self, scope: Scope, send: Send, refusal: Refusal) -> None:
        """Answer so, in the form of the service that the request is for."""
        service, _ = self._service(scope)
        await send_refusal(service, scope, refusal, protected(send, NO_PAGE))

    async def _refuse(self, scope: Scope, receive: Receive, send: Send, refusal: NotAdmitted) -> None:
        from emulator.gateway.access.denials import not_admitted

        service, _ = self._service(scope)
        await not_admitted(refusal.status, refusal.message, service, scope).send(scope, receive, send)

    def _service(self, scope: Scope) -> tuple[str, Application]:
        """The name of the service that a request is for, empty for what anybody may see, and what serves it."""
        is_runtime = scope["path"].startswith(RUNTIME_PREFIX)
        # Invocations are POSTs without a query. What else begins so may be a key of a bucket that the host names.
        if is_runtime and scope["method"] == "POST" and not scope["query_string"]:
            return "runtime", self._runtime
        if header(scope, b"x-amz-target").startswith(TARGET_PREFIX):
            return "sagemaker", self._sagemaker
        if self._s3 is not None and is_for_s3(scope, self._s3.has_bucket):
            return "s3", self._s3
        if is_runtime:
            return "runtime", self._runtime
        if scope["path"].startswith(PAGES):
            # Who runs a container asks for its health, which says nothing of what is in it.
            return "" if scope["path"] == HEALTH else "localmme", self._others
        service = service_of(scope) or ""
        return service, self._others if service in ("", "s3", "sagemaker") else self._neighbours
