"""The HTTP face of the neighbours: moto's WSGI applications in threads, imported at the first call."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from emulator.aws.asgi import Application, Receive, Scope, Send, replayed, send_answer
from emulator.aws.protocols import CBOR, Refusal, Request, refuse
from emulator.aws.request import ADMITTED, CALL, header, service_of, signed_region
from emulator.aws.wsgi import in_threads, whole_body
from emulator.containers.docker.engine import Engine
from emulator.errors import SetupError
from emulator.observers.cloudwatch_metrics import CloudWatchMetrics
from emulator.observers.recent_log_lines import RecentLogLines
from emulator.services.moto_services.service_call import NotACall, ServiceCall, read

if TYPE_CHECKING:
    from emulator.services.moto_services.backends import MotoBackends

# Signing names, and what people call them.
NAMES = {"sts": "STS", "iam": "IAM", "ecr": "ECR", "monitoring": "CloudWatch", "logs": "CloudWatch Logs"}
INSTALL = 'pip install "localmme[aws]"'
READING = ("Get", "List", "Describe")  # how the names of actions begin that change nothing
IMAGE_CALLS = {"DescribeImages", "ListImages", "BatchGetImage"}

# All regions are one: what moto keeps by region is asked of the emulator's own, whatever region the caller names.
OF_ALL_REGIONS = {"monitoring", "logs"}

log = logging.getLogger("localmme")


class MotoServicesApp:
    """STS, IAM, ECR, CloudWatch and CloudWatch Logs; says of every other service that it is not emulated."""

    def __init__(self, metrics: CloudWatchMetrics, logs: RecentLogLines, engine: Engine, region: str) -> None:
        """``region`` is that of requests which name none."""
        self._metrics, self._logs, self._engine, self._region = metrics, logs, engine, region
        self._opening: asyncio.Future[MotoBackends] | None = None
        self._applications: dict[str, Application] = {}
        self._filling = asyncio.Lock()  # so that lines of log keep their order

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        service = service_of(scope) or ""
        request = Request(service, header(scope, b"content-type"), header(scope, b"smithy-protocol"))
        refusal = _refused(request)
        body = await whole_body(receive, send)
        if body is None:
            return
        for_moto, data = scope, b""
        if refusal is None:
            try:
                # What was authorised is what is executed: the same call, not another reading of the same bytes.
                call = scope.get(CALL) or await read(service, scope, body)
                refusal = _refused_to_change(scope["method"], call)
                if refusal is None:
                    for_moto, data = call.for_moto(scope)
                    if service in OF_ALL_REGIONS:
                        _sign_for_region(for_moto, self._region)
                    await self._fill(await self._open(), call, for_moto)
            except NotACall as error:
                code = error.json_code if "json" in request.content_type else error.query_code
                refusal = Refusal(400, code, str(error))
            except ImportError as error:
                refusal = _not_installed(service, error)
            except Exception as error:
                log.exception("%s failed inside the emulator", NAMES[service])
                refusal = Refusal(500, "InternalFailure", f"localmme cannot answer for {NAMES[service]}: {error}")
        if refusal is None:
            await self._applications[service](for_moto, replayed(data, receive), send)
        else:
            await _send_refusal(request, refusal, send)

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

    async def _fill(self, moto: MotoBackends, call: ServiceCall, scope: Scope) -> None:
        """Give moto, before it answers, what the emulator knows by now. ``scope`` is moto's.

        Raises NotACall for a region that there is not.
        """
        service = call.service
        region = signed_region(scope) or self._region
        if service == "monitoring":
            moto.minutes = self._metrics.minutes()
        elif service == "logs":
            async with self._filling:
                await asyncio.to_thread(moto.put_lines, list(self._logs.take()))
        elif service in ("sts", "iam"):
            if (admitted := scope.get(ADMITTED)) is not None:
                user = admitted.user
                key = await asyncio.to_thread(moto.introduce_user, user.name, user.access_key_id, region)
                _sign_as(scope, user.access_key_id, key)
            else:
                await asyncio.to_thread(moto.introduce_caller, header(scope, b"authorization"), region)
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


def _sign_for_region(scope: Scope, region: str) -> None:
    """Put another region into a request whose signature, if it counts, has been verified."""
    signed = signed_region(scope)
    if signed:
        before, after = f"/{signed}/".encode("latin-1"), f"/{region}/".encode()
        scope["headers"] = [
            (name, value.replace(before, after, 1) if name == b"authorization" else value)
            for name, value in scope["headers"]
        ]


def _sign_as(scope: Scope, access_key_id: str, other: str) -> None:
    """Put another access key into a request whose signature has been verified."""
    before, after = f"Credential={access_key_id}/".encode(), f"Credential={other}/".encode()
    scope["headers"] = [
        (name, value.replace(before, after, 1) if name == b"authorization" else value)
        for name, value in scope["headers"]
    ]


def _refused(request: Request) -> Refusal | None:
    if request.service not in NAMES:
        what = f"The AWS service {request.service!r}" if request.service else "What this request is for"
        return Refusal(
            501,
            "NotImplemented",
            f"{what} is not emulated by localmme. What is, besides SageMaker and S3: {', '.join(NAMES.values())}.",
        )
    if request.smithy_protocol == CBOR:
        return Refusal(
            501,
            "NotImplemented",
            f"moto, which answers for {NAMES[request.service]} here, does not know the protocol {CBOR}. "
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
    return Refusal(501, "NotImplemented", f"{NAMES[service]} needs moto: {INSTALL}{missing}")


async def _send_refusal(request: Request, refusal: Refusal, send: Send) -> None:
    headers, body = refuse(request, refusal)
    wire = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    await send_answer(send, refusal.status, wire, body)
