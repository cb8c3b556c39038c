"""moto's WSGI applications in threads, which are imported at the first call."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from emulator.aws.asgi import Application, Receive, Scope, Send, replayed, send_answer
from emulator.aws.protocols import CBOR, Refusal, Request, refuse
from emulator.aws.request import AwsRequest
from emulator.aws.services import MOTO_SERVICES
from emulator.aws.wsgi import in_threads, whole_body
from emulator.containers.docker.engine import Engine
from emulator.errors import SetupError
from emulator.observers.cloudwatch_metrics import CloudWatchMetrics
from emulator.observers.recent_log_lines import RecentLogLines
from emulator.services.moto_services.service_call import NotACall, ServiceCall, read

if TYPE_CHECKING:
    from emulator.services.moto_services.backends import MotoBackends

INSTALL = 'pip install "localmme[aws]"'
READING = ("Get", "List", "Describe")  # how the names of actions begin that change nothing
IMAGE_CALLS = {"DescribeImages", "ListImages", "BatchGetImage"}

# All regions are one: what moto keeps by region is asked of the emulator's own, whatever region the caller names.
OF_ALL_REGIONS = {"monitoring", "logs"}

log = logging.getLogger("localmme")


class MotoServicesApp:
    """The services that moto answers for; says of every other service that it is not emulated."""

    def __init__(self, metrics: CloudWatchMetrics, logs: RecentLogLines, engine: Engine, region: str) -> None:
        """``region`` is that of requests which name none."""
        self._metrics, self._logs, self._engine, self._region = metrics, logs, engine, region
        self._opening: asyncio.Future[MotoBackends] | None = None
        self._applications: dict[str, Application] = {}
        self._filling = asyncio.Lock()  # so that lines of log keep their order

    async def __call__(self, request: AwsRequest, receive: Receive, send: Send) -> None:
        service = request.named_service
        asked = Request(service, request.header(b"content-type"), request.header(b"smithy-protocol"))
        refusal = _refused(asked)
        body = await whole_body(receive, send)
        if body is None:
            return
        scope, data = request.scope, b""
        if refusal is None:
            try:
                # What was authorised is what is executed: the same call, not another reading of the same bytes.
                call = request.content or await read(request, body)
                refusal = _refused_to_change(request.method, call)
                if refusal is None:
                    scope, data = call.for_moto(request)
                    if service in OF_ALL_REGIONS:
                        _sign_for_region(scope, request.signed_region, self._region)
                    await self._fill(await self._open(), call, request, scope)
            except NotACall as error:
                code = error.json_code if "json" in asked.content_type else error.query_code
                refusal = Refusal(400, code, str(error))
            except ImportError as error:
                refusal = _not_installed(service, error)
            except Exception as error:
                name = MOTO_SERVICES[service].name
                log.exception("%s failed inside the emulator", name)
                refusal = Refusal(500, "InternalFailure", f"localmme cannot answer for {name}: {error}")
        if refusal is None:
            await self._applications[service](scope, replayed(data, receive), send)
        else:
            await _send_refusal(asked, refusal, send)

    async def _open(self) -> MotoBackends:
        """Raises ImportError when moto, or what it needs, is not installed."""
        if self._opening is None:
            self._opening = asyncio.ensure_future(asyncio.to_thread(_import_moto, self._region))
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

        Raises NotACall for a region that there is not.
        """
        service = call.service
        region = request.signed_region or self._region
        if service == "monitoring":
            moto.minutes = self._metrics.minutes()
        elif service == "logs":
            async with self._filling:
                await asyncio.to_thread(moto.put_lines, list(self._logs.take()))
        elif service in ("sts", "iam"):
            if (caller := request.caller) is not None:
                key = await asyncio.to_thread(moto.introduce_user, caller.name, caller.access_key_id, region)
                _sign_as(scope, caller.access_key_id, key)
            else:
                await asyncio.to_thread(moto.introduce_caller, AwsRequest(scope).header(b"authorization"), region)
        elif service == "ecr" and not moto.knows(region):
            words = "Credential should be scoped to a valid region."  # [reports]
            raise NotACall("InvalidSignatureException", "SignatureDoesNotMatch", words)
        elif service == "ecr" and call.operation in IMAGE_CALLS:
            try:
                images = await self._engine.call(lambda client: client.images())
            except SetupError:  # there is no engine
                return
            await asyncio.to_thread(moto.put_images, images, region)


def _import_moto(region: str) -> MotoBackends:
    from emulator.services.moto_services.backends import MotoBackends

    return MotoBackends(region)


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


def _refused(request: Request) -> Refusal | None:
    if request.service not in MOTO_SERVICES:
        names = ", ".join(service.name for service in MOTO_SERVICES.values())
        what = f"The AWS service {request.service!r}" if request.service else "What this request is for"
        return Refusal(
            501,
            "NotImplemented",
            f"{what} is not emulated by localmme. What is, besides SageMaker and S3: {names}.",
        )
    if request.smithy_protocol == CBOR:
        return Refusal(
            501,
            "NotImplemented",
            f"moto, which answers for {MOTO_SERVICES[request.service].name} here, does not know the protocol {CBOR}. "
            "Use an SDK that speaks JSON or query, such as boto3 or the AWS CLI.",
        )
    return None


def _refused_to_change(method: str, call: ServiceCall) -> Refusal | None:
    """A GET that would change something: a web page can send it without saying where it is from. SDKs send POST."""
    if method == "POST" or call.operation.startswith(READING):
        return None
    return Refusal(405, "MethodNotAllowed", f"{call.operation} is called with the method POST, not {method}.")


def _not_installed(service: str, error: ImportError) -> Refusal:
    missing = "" if error.name in (None, "moto") else f" ({error})"
    return Refusal(501, "NotImplemented", f"{MOTO_SERVICES[service].name} needs moto: {INSTALL}{missing}")


async def _send_refusal(request: Request, refusal: Refusal, send: Send) -> None:
    headers, body = refuse(request, refusal)
    wire = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    await send_answer(send, refusal.status, wire, body)
