"""One port for several services. Each request is recognized, authorized and served, in this order."""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from emulator.aws.asgi import HeadersByName, Receive, Response, Scope, Send, send_answer
from emulator.aws.errors import AwsError
from emulator.aws.protocols import protocol_of, send_error
from emulator.aws.request import CREDENTIALS, HEALTH, LOGIN, PAGES, AwsRequest, Service, new_request_id
from emulator.gateway.access.denials import Denial
from emulator.gateway.ambiguity import check_head, has_two_credentials
from emulator.gateway.refusals import ENDING, send_last, send_unadmitted
from emulator.gateway.response_headers import NO_PAGE, protected, shared
from emulator.gateway.web_guard import WebGuard, preflight
from emulator.services.runtime.app import INVOKE
from emulator.services.runtime.app import PREFIX as RUNTIME_PREFIX
from emulator.services.s3.addressing import is_for_s3
from emulator.services.sagemaker import TARGET_PREFIX

if TYPE_CHECKING:
    from emulator.gateway.access.access_control import AccessControl
    from emulator.services.runtime.app import RuntimeApp
    from emulator.services.s3.app import S3App

# InvokeEndpoint, with all that a path may say of it without an escape or a query.
INVOCATION = re.compile(re.escape(RUNTIME_PREFIX.encode()) + rb"([A-Za-z0-9._~-]+)/" + INVOKE.encode())


class Gateway:
    """The emulator as an ASGI application."""

    def __init__(
        self,
        runtime: RuntimeApp,
        sagemaker: Service,
        s3: S3App | None,
        moto_services: Service,
        console: Service,
        credentials: Service,
        guard: WebGuard,
        access: AccessControl | None = None,
    ) -> None:
        """``console`` has the emulator's own pages, and the answer to requests for no service; ``credentials`` those
        of the execution roles of containers."""
        self._runtime = runtime
        self._sagemaker = sagemaker
        self._s3 = s3
        self._moto_services = moto_services
        self._console = console
        self._credentials = credentials
        self._guard = guard
        self._access = access
        self._is_ending = False
        self._under_way: set[asyncio.Task[Any]] = set()  # but invocations, which endpoints let come to their end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = AwsRequest(scope)
        service = await self._recognize(request)
        try:
            page = self._guard.admit(request.raw_headers, request.address)
        except Denial as denial:
            error = denial.error(protocol_of(request))
            await send_unadmitted(request, error, receive, protected(send, NO_PAGE))
            return
        if page and (answer := preflight(scope)) is not None:
            await send_answer(send, 204, shared(answer, page))
            return
        # An invocation is a POST, to which no browser can be led. The emulator's own page has its token in it, which
        # is for no other page.
        own_page = request.path == PAGES
        send = protected(send, [] if request.service == "runtime" else NO_PAGE, b"" if own_page else page)
        try:
            check_head(request)
        except Denial as denial:
            await send_unadmitted(request, denial.error(protocol_of(request)), receive, send)
            return
        try:
            body = await self._authorize(request, receive)
        except AwsError as error:
            if request.service == "s3":  # all other bodies are read by now
                await send_unadmitted(request, error, receive, send)
            else:
                await send_error(request, error, send)
        else:
            await self._serve(service, request, body, send)

    def plain_invocation(
        self, target: bytes, headers: HeadersByName, body: bytes, address: str
    ) -> Coroutine[Any, Any, Response | None] | None:
        """The response to a POST, if it is an InvokeEndpoint that nothing stands in the way of: it needs no ASGI.

        None for all that has to be refused, or looked at more closely: that is for ``__call__``. The response's headers
        are not safe yet. ``address`` is the one that the request has come to; none of its headers is there twice.
        """
        endpoint_name = _invoked_endpoint(target)
        if (
            endpoint_name is None
            or self._access is not None
            or self._is_ending
            or b"x-amz-target" in headers
            or has_two_credentials(headers)
            or not self._guard.admits_plainly(headers, address)
        ):
            return None
        return self._runtime.respond(new_request_id(), endpoint_name, INVOKE, headers, body)

    async def _recognize(self, request: AwsRequest) -> Service:
        """The application that serves a request. Sets the request's ``service``.

        SageMaker Runtime is known by its path, SageMaker by its header, S3 by its signature or its buckets, another AWS
        service by its signature or its target.
        """
        is_runtime = request.path.startswith(RUNTIME_PREFIX)
        # Invocations are POSTs without a query. What else begins so may be a key of a bucket that the host names.
        if is_runtime and request.method == "POST" and not request.scope["query_string"]:
            request.service = "runtime"
            return self._runtime
        if request.target.startswith(TARGET_PREFIX):
            request.service = "sagemaker"
            return self._sagemaker
        if self._s3 is not None and await is_for_s3(request, self._s3.has_bucket):
            request.service = "s3"
            return self._s3
        if is_runtime:
            request.service = "runtime"
            return self._runtime
        if request.path == CREDENTIALS:  # which has a check of its own
            request.service = ""
            return self._credentials
        if request.path.startswith(PAGES):
            # Who runs a container looks at its health, which says nothing of what is in it; who logs in has a code.
            is_open = request.path == HEALTH or (request.path == LOGIN and request.method == "GET")
            request.service = "" if is_open else "localmme"
            return self._console
        request.service = request.named_service
        return self._console if request.service in ("", "s3", "sagemaker") else self._moto_services

    async def _authorize(self, request: AwsRequest, receive: Receive) -> Receive:
        """The ``receive`` from which the service reads the body. Raises AwsError."""
        if self._access is None or not request.service:
            return receive
        return await self._access.admit(request, receive)

    async def _serve(self, service: Service, request: AwsRequest, receive: Receive, send: Send) -> None:
        if self._is_ending:
            await send_last(request, ENDING, send)
        elif request.service == "runtime":
            await service(request, receive, send)
        else:
            task = asyncio.current_task()
            assert task is not None
            self._under_way.add(task)
            try:
                await service(request, receive, send)
            finally:
                self._under_way.discard(task)

    async def end(self) -> None:
        """Refuse what is under way, and what comes from now on: the services are about to be stopped."""
        self._is_ending = True
        for task in self._under_way:
            task.cancel()
        if self._under_way:
            await asyncio.wait(self._under_way)

    async def refuse(self, scope: Scope, send: Send, error: AwsError) -> None:
        """Answer with this error, in the form of the request's service."""
        request = AwsRequest(scope)
        await self._recognize(request)
        await send_last(request, error, protected(send, NO_PAGE))


@functools.lru_cache(256)
def _invoked_endpoint(target: bytes) -> str | None:
    """The name in a target that is INVOCATION; None for any other."""
    match = INVOCATION.fullmatch(target)
    return match[1].decode() if match is not None else None
