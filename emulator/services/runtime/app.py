"""SageMaker Runtime: the data plane, as a plain ASGI application.

It is the hot path: between a caller's bytes and the container's, nothing here touches a file, a
lock or a thread.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import math
import re
import urllib.parse
from collections.abc import Mapping
from dataclasses import replace

from emulator.aws.asgi import (
    BodyBrokenOff,
    BodyTooLong,
    ConnectionCut,
    Headers,
    HeadersByName,
    Receive,
    Response,
    Send,
    read_body,
    send_answer,
)
from emulator.aws.errors import AwsError
from emulator.aws.eventstream import payload_part, stream_exception
from emulator.aws.protocols import rest_json
from emulator.aws.request import AwsRequest, decoded
from emulator.clock import Clock
from emulator.containers.contract import Answer, StreamedAnswer
from emulator.containers.session_headers import CLOSED, OPENED, SESSION_ID
from emulator.errors import ContainerError, ContainerTimeout
from emulator.events import CallEnded, Events, FaultInjected, Warned
from emulator.hosting.endpoint import Endpoint
from emulator.hosting.endpoints import Endpoints
from emulator.hosting.variant import ProductionVariant
from emulator.invocation import NEW_SESSION, Invocation
from emulator.limits import FORMER_BODY_BYTES, Limits
from emulator.services.runtime.errors import (
    body_incomplete,
    body_too_long,
    endpoint_not_asynchronous,
    endpoint_not_found,
    explanations_not_computed,
    internal_failure,
    member_invalid,
    operation_not_emulated,
    prefix_aware_routing_not_emulated,
    stream_too_slow,
    throttled,
    unknown_operation,
)
from emulator.services.runtime.faults import LATENCY, Fault, Faults, StreamBroken, broken, error_of
from emulator.services.runtime.throttle import Throttle

PREFIX = "/endpoints/"
INVOKE, INVOKE_STREAM, INVOKE_ASYNC = "invocations", "invocations-response-stream", "async-invocations"
OPERATIONS = (INVOKE, INVOKE_STREAM, INVOKE_ASYNC)
# [dg] What there is beside, by the beginning of what follows the endpoint's name.
NOT_EMULATED = {
    "invocations-bidirectional-stream": "InvokeEndpointWithBidirectionalStream",
    "openai": "The path of OpenAI's API",
}

# [api] the patterns of the request's members, and their lengths
PRINTABLE = re.compile(r"\S[ -~]*", re.ASCII)  # as Java reads it
PRINTABLE_CONSTRAINT = r"Member must satisfy regular expression pattern: \A\S[\p{Print}]*\z"
SESSION_CHARACTERS = 256
INFERENCE_ID_CHARACTERS = 64
SESSION_PATTERN = "^[a-zA-Z0-9](-*[a-zA-Z0-9])*$"
EXPLANATIONS_OFF = b"`false`"  # as an expression of JMESPath
# [api] where the request's members are
TARGET_MODEL, TARGET_VARIANT = b"x-amzn-sagemaker-target-model", b"x-amzn-sagemaker-target-variant"
TARGET_CONTAINER, INFERENCE_COMPONENT = (
    b"x-amzn-sagemaker-target-container-hostname",
    b"x-amzn-sagemaker-inference-component",
)
ACCEPT, CUSTOM_ATTRIBUTES = b"x-amzn-sagemaker-accept", b"x-amzn-sagemaker-custom-attributes"
SESSION, PREFIX_AWARE_ID = b"x-amzn-sagemaker-session-id", b"x-amzn-sagemaker-prefix-aware-id"
ENABLE_EXPLANATIONS, INFERENCE_ID = b"x-amzn-sagemaker-enable-explanations", b"x-amzn-sagemaker-inference-id"
# Most invocations have none of these.
RARE = {TARGET_VARIANT, TARGET_CONTAINER, INFERENCE_COMPONENT, CUSTOM_ATTRIBUTES, SESSION} | {
    PREFIX_AWARE_ID,
    ENABLE_EXPLANATIONS,
    INFERENCE_ID,
}
# [api] what of a container's headers is returned, and by which names
RETURNED = {name: name for name in (b"content-type", CUSTOM_ATTRIBUTES, OPENED, CLOSED)}
RETURNED_AS_STREAM = RETURNED | {b"content-type": b"x-amzn-sagemaker-content-type"}

log = logging.getLogger("localmme")


class RuntimeApp:
    """Takes InvokeEndpoint, InvokeEndpointWithResponseStream and InvokeEndpointAsync."""

    def __init__(
        self, endpoints: Endpoints, limits: Limits, events: Events, clock: Clock, faults: Faults | None = None
    ) -> None:
        """Must be created on the running event loop."""
        self._faults = faults or Faults()
        self._endpoints = endpoints
        self._limits = limits
        self._events = events
        self._clock = clock
        self._throttle: Throttle | None = None
        if limits.invocations_per_second < math.inf:
            self._throttle = Throttle(limits.invocations_per_second, asyncio.get_running_loop().time)
        self._target_model = functools.lru_cache(1024)(self._read_target_model)
        self._warned_of_size = False

    async def __call__(self, request: AwsRequest, receive: Receive, send: Send) -> None:
        response: Response | None
        try:
            # The body first, even of a request that is going to be refused: a caller that is still
            # sending when the answer comes would see a broken connection instead of the answer.
            body = await self._read(receive)
            endpoint_name, operation = _route(request.method, request.raw_path)
        except AwsError as error:
            response = _refusal(error, request.id)
        else:
            headers = dict(request.raw_headers)
            response = await self.respond(request.id, endpoint_name, operation, headers, body, send)
        if response is not None:
            await send_answer(send, *response, is_head=request.method == "HEAD")

    async def _read(self, receive: Receive) -> bytes | None:
        """The body of a request; None if it is over the limit. Raises AwsError."""
        try:
            return await read_body(receive, self._limits.body_bytes)
        except BodyBrokenOff as error:
            raise body_incomplete(error.size) from None
        except BodyTooLong:
            return None

    async def respond(
        self,
        request_id: str,
        endpoint_name: str,
        operation: str,
        headers: HeadersByName,
        body: bytes | None,
        send: Send | None = None,
    ) -> Response | None:
        """The response to a request of which all has come; None if it has gone to ``send``, as a stream.

        ``operation`` is one of OPERATIONS. ``body`` is None if it is over the limit.
        """
        received, code, message = self._clock.elapsed(), "", ""
        invocation: Invocation | None = None
        response: Response | None = None
        cut: ConnectionCut | None = None
        fault: Fault | None = None
        try:
            if self._throttle is not None and not self._throttle.admits():
                raise throttled()
            endpoint = self._endpoints.get(endpoint_name)
            if endpoint is None:
                raise endpoint_not_found(endpoint_name)
            if operation == INVOKE_ASYNC:
                raise endpoint_not_asynchronous(endpoint_name)
            if body is None:
                raise body_too_long(self._limits.body_bytes)
            invocation = self._invocation(endpoint_name, operation, headers, body, request_id, received)
            variant = endpoint.variant_for(invocation)
            if self._faults.active:
                fault = await self._inject_faults(endpoint, variant, invocation, operation)
            if operation == INVOKE:
                answer = await variant.invoke(invocation)
                response = 200, _answer_headers(answer, variant, RETURNED, request_id), answer.body
            else:
                assert send is not None
                await self._stream(variant, invocation, send, request_id, fault)
        except ConnectionCut as error:
            code, message, cut = "ConnectionCut", str(error), error
        except AwsError as error:
            code, message = error.code, error.message
            response = _refusal(error, request_id)
        except Exception:
            log.exception("request %s failed inside the emulator", request_id)
            failure = internal_failure()
            code, message = failure.code, failure.message
            response = _refusal(failure, request_id)
        if invocation is None:
            invocation = self._refused(endpoint_name, operation, headers, request_id, received)
        status, size = (0 if cut else 200, 0) if response is None else (response[0], len(response[2]))
        # Its arguments have no names here: with them, to make it takes twice as long.
        ended = CallEnded(
            invocation, self._clock.elapsed(), status, 0 if body is None else len(body), size, code, message
        )
        self._events.publish(ended)
        if cut is not None:
            raise cut
        return response

    async def _inject_faults(
        self, endpoint: Endpoint, variant: ProductionVariant, invocation: Invocation, operation: str
    ) -> Fault | None:
        """What faults do to a call before its variant has it. Returns the one that is going to break off its stream.

        Raises AwsError and ConnectionCut.
        """
        events = endpoint.events.within(variant_name=variant.name)
        for fault in self._faults.take(invocation, operation == INVOKE_STREAM):
            event = FaultInjected(fault.fault, fault.effect(), fault.left(), invocation.target_model)
            invocation.measurements.fault = ", ".join(filter(None, (invocation.measurements.fault, event.effect)))
            events.publish(event)
            if fault.fault == LATENCY:
                await asyncio.sleep(self._faults.delay(fault))
            elif operation == INVOKE_STREAM and fault.breaks_stream:
                return fault
            else:
                origin = replace(events.origin, container=variant.last_container)
                variant.refuse(invocation, error_of(fault, invocation, origin))
        return None

    async def _stream(
        self,
        variant: ProductionVariant,
        invocation: Invocation,
        send: Send,
        request_id: str,
        fault: Fault | None,
    ) -> None:
        answer = await variant.invoke(invocation, streamed=True)
        assert isinstance(answer, StreamedAnswer)
        with answer.closing:
            headers = _answer_headers(answer, variant, RETURNED_AS_STREAM, request_id)
            headers.append((b"content-type", b"application/vnd.amazon.eventstream"))
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            last = b""
            try:
                async for chunk in answer.chunks if fault is None else broken(answer.chunks, fault):
                    if not invocation.measurements.first_chunk:
                        invocation.measurements.first_chunk = self._clock.elapsed()
                    await send({"type": "http.response.body", "body": payload_part(chunk), "more_body": True})
            except ContainerTimeout:
                invocation.measurements.broke_off = True
                words = stream_too_slow(answer.container)
                last = stream_exception("ModelStreamError", words, ErrorCode="ModelInvocationTimeExceeded")
            except ContainerError as error:
                invocation.measurements.broke_off = True
                last = stream_exception("ModelStreamError", str(error), ErrorCode="StreamBroken")
            except StreamBroken as error:
                invocation.measurements.broke_off = True
                last = error.event
            except ConnectionCut:
                invocation.measurements.broke_off = True
                raise
            except Exception:
                log.exception("request %s failed inside the emulator", request_id)
                last = stream_exception("InternalStreamFailure", "The emulator failed; see its log.")
            await send({"type": "http.response.body", "body": last})

    def _invocation(
        self,
        endpoint_name: str,
        operation: str,
        headers: HeadersByName,
        body: bytes,
        request_id: str,
        received: float,
    ) -> Invocation:
        """What an endpoint is invoked with. Raises AwsError."""
        if len(body) > FORMER_BODY_BYTES and not self._warned_of_size:
            self._warn_of_size(len(body))
        # The streamed operation has a header of its own for it; SDKs fill in the other one as they like.
        accept = headers.get(b"accept") if operation == INVOKE else None
        invocation = Invocation(endpoint_name, body, received, request_id)
        if operation != INVOKE:
            invocation.operation = operation
        if not RARE.isdisjoint(headers):
            self._add_rare_members(invocation, headers, operation)
        if TARGET_MODEL in headers:
            invocation.target_model = self._target_model(headers[TARGET_MODEL])
        invocation.content_type = headers.get(b"content-type")
        invocation.accept = headers.get(ACCEPT, accept)
        return invocation

    def _refused(
        self, endpoint_name: str, operation: str, headers: HeadersByName, request_id: str, received: float
    ) -> Invocation:
        """What is known of a call that was refused before it was looked at."""
        return Invocation(endpoint_name, b"", received, request_id, operation=operation)

    def _add_rare_members(self, invocation: Invocation, headers: HeadersByName, operation: str) -> None:
        if headers.get(ENABLE_EXPLANATIONS, EXPLANATIONS_OFF) != EXPLANATIONS_OFF:
            raise explanations_not_computed()
        if PREFIX_AWARE_ID in headers:
            raise prefix_aware_routing_not_emulated()
        invocation.target_variant = decoded(headers.get(TARGET_VARIANT, b""))
        invocation.target_container_hostname = decoded(headers.get(TARGET_CONTAINER, b""))
        invocation.inference_component = decoded(headers.get(INFERENCE_COMPONENT, b""))
        if CUSTOM_ATTRIBUTES in headers:
            invocation.custom_attributes = headers[CUSTOM_ATTRIBUTES]
            self._validate_attributes(invocation.custom_attributes)
        if INFERENCE_ID in headers:
            invocation.inference_id = headers[INFERENCE_ID]
            _validate_inference_id(invocation.inference_id)
        if SESSION in headers:
            invocation.session_id = headers[SESSION]
            _validate_session(invocation.session_id, may_be_new=operation == INVOKE)

    def _read_target_model(self, header: bytes) -> str:
        target_model = decoded(header)
        if len(target_model) > self._limits.target_model_characters:
            raise _too_long("targetModel", target_model, self._limits.target_model_characters)
        if target_model and not PRINTABLE.fullmatch(target_model):
            raise member_invalid("targetModel", target_model, PRINTABLE_CONSTRAINT)
        return target_model

    def _validate_attributes(self, attributes: bytes) -> None:
        if len(attributes) > self._limits.custom_attributes_characters:
            raise _too_long("customAttributes", "***", self._limits.custom_attributes_characters)
        if not attributes.isascii():
            raise member_invalid(
                "customAttributes", "***", r"Member must satisfy regular expression pattern: \p{ASCII}*"
            )

    def _warn_of_size(self, size: int) -> None:
        self._warned_of_size = True
        self._events.publish(
            Warned(
                f"A request body has {size:,} bytes. SageMaker's hosting FAQs allow 25 MB, its API reference and older "
                f"guides {FORMER_BODY_BYTES:,} bytes: try it there before you rely on it."
            )
        )


def _route(method: str, raw_path: str) -> tuple[str, str]:
    name, operation = parts_of(raw_path)
    if method == "POST" and operation in OPERATIONS:
        return name, operation
    if (other := NOT_EMULATED.get(operation.partition("/")[0])) is not None:
        raise operation_not_emulated(other)
    raise unknown_operation(method, urllib.parse.unquote(raw_path))


def parts_of(raw_path: str) -> tuple[str, str]:
    """The endpoint and the operation that a path names. An encoded slash in a name does not look like a path's."""
    name, _, operation = raw_path[len(PREFIX) :].partition("/")
    return urllib.parse.unquote(name) if "%" in name else name, operation


def _validate_inference_id(inference_id: bytes) -> None:
    text = decoded(inference_id)
    if len(text) > INFERENCE_ID_CHARACTERS:
        raise _too_long("inferenceId", text, INFERENCE_ID_CHARACTERS)
    if not PRINTABLE.fullmatch(text):
        raise member_invalid("inferenceId", text, PRINTABLE_CONSTRAINT)


def _validate_session(session_id: bytes, may_be_new: bool) -> None:
    """[api] A stream cannot open a session, by the pattern of its member."""
    text = session_id.decode("latin-1")
    if len(session_id) > SESSION_CHARACTERS:
        raise _too_long("sessionId", text, SESSION_CHARACTERS)
    if not SESSION_ID.fullmatch(session_id) and not (may_be_new and session_id == NEW_SESSION):
        pattern = f"^(NEW_SESSION)$|{SESSION_PATTERN}" if may_be_new else SESSION_PATTERN
        raise member_invalid("sessionId", text, f"Member must satisfy regular expression pattern: {pattern}")


def _answer_headers(
    answer: Answer, variant: ProductionVariant, returned: Mapping[bytes, bytes], request_id: str
) -> Headers:
    headers = [
        (b"x-amzn-requestid", request_id.encode()),
        (b"x-amzn-invoked-production-variant", variant.name.encode()),
    ]
    for name, value in answer.headers:
        if name in returned:
            headers.append((returned[name], value))
    return headers


def _refusal(error: AwsError, request_id: str) -> Response:
    headers, body = rest_json(error)
    return error.status, [(b"x-amzn-requestid", request_id.encode()), *headers], body


def _too_long(member: str, value: str, limit: int) -> AwsError:
    return member_invalid(member, value, f"Member must have length less than or equal to {limit}")
