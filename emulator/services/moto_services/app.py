"""moto's WSGI applications in threads, which are imported at the first call."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from emulator.aws.asgi import Application, Receive, Scope, Send, replayed, send_answer
from emulator.aws.errors import AwsError
from emulator.aws.protocols import RPC_V2_CBOR, Protocol, id_headers, protocol_of, send_error
from emulator.aws.request import AwsRequest
from emulator.aws.services import MOTO_SERVICES
from emulator.aws.sessions import Sessions
from emulator.aws.wsgi import in_threads, whole_body
from emulator.containers.docker.engine import Engine
from emulator.errors import SetupError
from emulator.observers.cloudwatch_metrics import CloudWatchMetrics
from emulator.observers.recent_log_lines import RecentLogLines
from emulator.services.moto_services import assume_role, simulate_principal_policy
from emulator.services.moto_services.service_call import ServiceCall, is_json, read
from emulator.services.moto_services.simulate_principal_policy import RoleAllows, everything_is_allowed

if TYPE_CHECKING:
    from emulator.services.moto_services.backends import MotoBackends

INSTALL = 'pip install "localmme[aws]"'
READING = ("Get", "List", "Describe")  # how the names of actions begin that change nothing
IMAGE_CALLS = {"DescribeImages", "ListImages", "BatchGetImage"}

# All regions are one: what moto keeps by region is that of the emulator's own, whatever region the caller names.
OF_ALL_REGIONS = {"monitoring", "logs", "application-autoscaling"}

log = logging.getLogger("localmme")


class MotoServicesApp:
    """The services that moto answers for; says of every other service that it is not emulated."""

    def __init__(
        self,
        metrics: CloudWatchMetrics,
        logs: RecentLogLines,
        engine: Engine,
        region: str,
        sessions: Sessions,
        variant_names: Callable[[str], Collection[str]] = lambda _: (),
        role_allows: RoleAllows = everything_is_allowed,
    ) -> None:
        """``region`` is that of requests which name none. ``variant_names`` are those of an endpoint.

        ``role_allows`` says whether the policies of a role allow something.
        """
        self._metrics, self._logs, self._engine, self._region = metrics, logs, engine, region
        self._sessions, self._variant_names, self._role_allows = sessions, variant_names, role_allows
        self._opening: asyncio.Future[MotoBackends] | None = None
        self._applications: dict[str, Application] = {}
        self._filling = asyncio.Lock()  # so that lines of log keep their order

    async def __call__(self, request: AwsRequest, receive: Receive, send: Send) -> None:
        body = await whole_body(request, receive, send)
        if body is None:
            return
        try:
            if (document := await self._answered_here(request, body)) is not None:
                await send_answer(send, 200, [(b"content-type", b"text/xml"), *id_headers(request)], document)
                return
            scope, data = await self._for_moto(request, body)
        except AwsError as error:
            await send_error(request, error, send)
        else:
            await self._applications[request.service](scope, replayed(data, receive), send)

    async def _answered_here(self, request: AwsRequest, body: bytes) -> bytes | None:
        """The answer to what moto does not know, or not well enough; None = it is for moto.

        Sets the request's content, if it is for STS or IAM. Raises AwsError.
        """
        if request.service not in ("sts", "iam") or protocol_of(request) is Protocol.CBOR:
            return None
        request.content = call = request.content or await read(request, body)
        _check_method(request.method, call)
        if (request.service, call.operation) == ("sts", "AssumeRole"):
            return assume_role.respond(call.parameters, self._sessions, request.id)
        if (request.service, call.operation) == ("iam", simulate_principal_policy.OPERATION):
            return simulate_principal_policy.respond(call.parameters, self._role_allows, request.id)
        return None

    async def _for_moto(self, request: AwsRequest, body: bytes) -> tuple[Scope, bytes]:
        """The request as moto is to have it, and its body; moto knows by then what it has to. Raises AwsError."""
        _check_service(request)
        try:
            # What was authorised is what is executed: the same call, not another reading of the same bytes.
            call = request.content or await read(request, body)
            _check_method(request.method, call)
            scope, data = call.for_moto(request)
            if request.service in OF_ALL_REGIONS:
                _sign_for_region(scope, request.signed_region, self._region)
            await self._fill(await self._open(), call, request, scope)
        except AwsError:
            raise
        except ImportError as error:
            raise _not_installed(request.service, error) from None
        except Exception as error:
            name = MOTO_SERVICES[request.service].name
            log.exception("%s failed inside the emulator", name)
            raise AwsError("InternalFailure", 500, f"localmme cannot answer for {name}: {error}") from None
        return scope, data

    async def _open(self) -> MotoBackends:
        """Raises ImportError when moto, or something that it needs, is not installed."""
        if self._opening is None:
            self._opening = asyncio.ensure_future(asyncio.to_thread(_import_moto, self._region, self._variant_names))
        try:
            moto = await asyncio.shield(self._opening)
        except ImportError:
            self._opening = None  # it may be installed by the next call
            raise
        if not self._applications:
            self._applications = {name: in_threads(app) for name, app in moto.applications.items()}
        return moto

    async def _fill(self, moto: MotoBackends, call: ServiceCall, request: AwsRequest, scope: Scope) -> None:
        """Give moto, before it answers, what the emulator knows by now. ``scope`` is moto's.

        Raises AwsError for a region that there is not.
        """
        service = call.service
        region = request.signed_region or self._region
        if service == "monitoring":
            moto.minutes = self._metrics.minutes()
        elif service == "logs":
            async with self._filling:
                await asyncio.to_thread(moto.put_lines, list(self._logs.take()))
        elif service == "application-autoscaling":
            await asyncio.to_thread(moto.prepare_scaling, call.operation, call.document or {}, self._region)
        elif service in ("sts", "iam"):
            if (session := self._sessions.get(request.credential.partition("/")[0])) is not None:
                await asyncio.to_thread(moto.introduce_session, session, region)
            elif (caller := request.caller) is not None:
                key = await asyncio.to_thread(moto.introduce_user, caller.name, caller.access_key_id, region)
                _sign_as(scope, caller.access_key_id, key)
            else:
                await asyncio.to_thread(moto.introduce_caller, AwsRequest(scope).header(b"authorization"), region)
        elif service == "ecr" and not moto.knows(region):
            code = "InvalidSignatureException" if is_json(request) else "SignatureDoesNotMatch"
            raise AwsError(code, 400, "Credential should be scoped to a valid region.")  # [reports]
        elif service == "ecr" and call.operation in IMAGE_CALLS:
            try:
                images = await self._engine.call(lambda client: client.images())
            except SetupError:  # there is no engine
                return
            await asyncio.to_thread(moto.put_images, images, region)


def _import_moto(region: str, variant_names: Callable[[str], Collection[str]]) -> MotoBackends:
    from emulator.services.moto_services.backends import MotoBackends

    return MotoBackends(region, variant_names)


def _sign_for_region(scope: Scope, signed: str, region: str) -> None:
    """Put another region into a request whose signature, if it counts, has been verified."""
    if signed:
        _replace_in_authorization(scope, f"/{signed}/".encode("latin-1"), f"/{region}/".encode())


def _sign_as(scope: Scope, access_key_id: str, other: str) -> None:
    """Put another access key into a request whose signature has been verified."""
    _replace_in_authorization(scope, f"Credential={access_key_id}/".encode(), f"Credential={other}/".encode())


def _replace_in_authorization(scope: Scope, before: bytes, after: bytes) -> None:
    scope["headers"] = [
        (name, value.replace(before, after, 1) if name == b"authorization" else value)
        for name, value in scope["headers"]
    ]


def _check_service(request: AwsRequest) -> None:
    """Raises AwsError for a service, or a protocol of one, that is not emulated."""
    service = request.service
    if service not in MOTO_SERVICES:
        names = ", ".join(known.name for known in MOTO_SERVICES.values())
        raise _not_implemented(
            f"The AWS service {service!r} is not emulated by localmme. What is, besides SageMaker and S3: {names}."
        )
    if protocol_of(request) is Protocol.CBOR:
        raise _not_implemented(
            f"moto, which answers for {MOTO_SERVICES[service].name} here, does not know the protocol {RPC_V2_CBOR}. "
            "Use an SDK that speaks JSON or query, such as boto3 or the AWS CLI."
        )


def _check_method(method: str, call: ServiceCall) -> None:
    """Raises AwsError for a GET that would change something.

    A web page can send one without saying where it is from. SDKs send POST.
    """
    if method != "POST" and not call.operation.startswith(READING):
        words = f"{call.operation} is called with the method POST, not {method}."
        raise AwsError("MethodNotAllowed", 405, words)


def _not_installed(service: str, error: ImportError) -> AwsError:
    missing = "" if error.name in (None, "moto") else f" ({error})"
    return _not_implemented(f"{MOTO_SERVICES[service].name} needs moto: {INSTALL}{missing}")


def _not_implemented(message: str) -> AwsError:
    return AwsError("NotImplemented", 501, message)
