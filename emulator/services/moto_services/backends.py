"""moto's services, and the emulator's data in them. Importing this module imports moto."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import flask
from moto.backends import get_backend
from moto.core.config import default_user_config
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.core.responses import BaseResponse
from moto.ecr.models import ecr_backends
from moto.iam.models import AccessKey, get_account_id_from, iam_backends
from moto.logs.models import logs_backends
from moto.moto_server.werkzeug_app import create_backend_app
from moto.sts.models import AssumedRole, sts_backends
from werkzeug.exceptions import HTTPException

from emulator import relied_on
from emulator.aws.arn import iam_arn, managed_policy_arn, partition_of
from emulator.aws.errors import AwsError
from emulator.aws.protocols import written
from emulator.aws.request import AwsRequest
from emulator.aws.services import MOTO_SERVICES, AwsService
from emulator.aws.sessions import Session
from emulator.observers.cloudwatch_metrics import Minute
from emulator.observers.recent_log_lines import KEPT_LINES, LogStream
from emulator.services.moto_services import autoscaling, aws_data, cloudwatch, ecr
from emulator.services.moto_services.service_call import is_json
from emulator.services.moto_services.wrong_parameters import misfit, omitted

# Ours. It looks as SageMaker's console makes such roles, by which its SDK knows them.
ROLE_PATH, ROLE_NAME = "/service-role/", "AmazonSageMaker-ExecutionRole-localmme"
SESSION_NAME = "SageMaker"  # as on a notebook instance
POLICY = "AmazonSageMakerFullAccess"
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"},
    ],
}
USED_BY_AUTOSCALING: Any = "ecs"  # moto's Application Auto Scaling makes one of its backends
ORDINARY_REGION = "us-east-1"
NO_KEY = "AKIAEXAMPLE"  # moto's name for an access key that does not look like one

TOKENS = {"Marker", "NextToken", "nextToken"}

log = logging.getLogger("localmme")
relied_on.check(__name__)


class MotoBackends:
    """moto's WSGI applications by signing name. The methods are called in threads."""

    def __init__(self, region: str, variant_names: autoscaling.VariantNames) -> None:
        """``region`` is the emulator's own, which need not be one of AWS's."""
        self.minutes: list[Minute] = []  # what CloudWatch is to know
        self._lock = threading.Lock()
        aws_data.install()
        # Without them, AmazonSageMakerFullAccess cannot be attached to a role. They take a tenth of a second.
        default_user_config["iam"]["load_aws_managed_policies"] = True
        self._partitions: set[str] = set()  # that have the role
        self.applications = {service.signing_name: _application(service) for service in MOTO_SERVICES.values()}
        introduce_region(region)
        cloudwatch.install(lambda: self.minutes)
        ecr.install()
        autoscaling.install()
        self._scalable = autoscaling.ScalableVariants(variant_names)

    def knows(self, region: str) -> bool:
        """Whether there is such a region, for ECR, which has repositories by region."""
        return region in ecr_backends[DEFAULT_ACCOUNT_ID]

    def put_lines(self, streams: Sequence[LogStream]) -> None:
        """Add the log lines that came since the last call."""
        for stream in streams:
            regions = logs_backends[DEFAULT_ACCOUNT_ID]
            if stream.region not in regions:
                continue
            backend = regions[stream.region]
            backend.ensure_log_group(stream.group_name)
            backend.ensure_log_stream(stream.group_name, stream.name)
            events = [{"timestamp": milliseconds, "message": line} for milliseconds, line in stream.lines]
            of_moto = backend.groups[stream.group_name].streams[stream.name]
            of_moto.put_log_events(events)
            del of_moto.events[:-KEPT_LINES]

    def introduce_caller(self, authorization: str, region: str) -> None:
        """Make a caller whose access key moto has not made a session of the execution role."""
        match = BaseResponse.access_key_regex.search(authorization)
        key = match["access_key"] if match else NO_KEY
        partition = partition_of(region)
        with self._lock:
            self._ensure_role(region)
            iam, sts = iam_backends[DEFAULT_ACCOUNT_ID][partition], sts_backends[DEFAULT_ACCOUNT_ID][partition]
            if get_account_id_from(key) != DEFAULT_ACCOUNT_ID or key in iam.access_keys:
                return
            if sts.get_assumed_role_from_access_key(key) is None:
                role_arn = iam_arn(region, f"role{ROLE_PATH}".rstrip("/"), ROLE_NAME)
                sts.assumed_roles.append(AssumedRole(**_assumed(key, role_arn, SESSION_NAME, region)))

    def introduce_session(self, session: Session, region: str) -> None:
        """Have STS know a session that the emulator has made."""
        with self._lock:
            self._ensure_role(region)
            sts = sts_backends[DEFAULT_ACCOUNT_ID][partition_of(region)]
            if sts.get_assumed_role_from_access_key(session.access_key_id) is None:
                role = _OurSession(**_assumed(session.access_key_id, session.role_arn, session.name, region))
                role.user_id = session.user_id
                sts.assumed_roles.append(role)

    def introduce_user(self, name: str, access_key_id: str, region: str) -> str:
        """Have IAM and STS know a user whose access is controlled; the access key by which they do."""
        partition = partition_of(region)
        # moto finds keys by their form, which an access file's need not have.
        known_key = f"AKIA{hashlib.sha256(access_key_id.encode()).hexdigest()[:16].upper()}"
        with self._lock:
            self._ensure_role(region)
            iam = iam_backends[DEFAULT_ACCOUNT_ID][partition]
            if known_key in iam.access_keys:
                return known_key
            user = iam.users.get(name) or iam.create_user(region, name)
            key = AccessKey(name, "AKIA", DEFAULT_ACCOUNT_ID)  # type: ignore[abstract]
            key.access_key_id = known_key
            user.access_keys.append(key)
            iam.access_keys[known_key] = key
            return known_key

    def prepare_scaling(self, operation: str, parameters: Mapping[str, Any], region: str) -> None:
        """Check a call of Application Auto Scaling. Raises AwsError."""
        with self._lock:
            self._scalable.prepare(operation, parameters, region)

    def put_images(self, images: Sequence[Mapping[str, Any]], region: str) -> None:
        """See to it that the repositories have the engine's images of their names, as it lists them, and no others."""
        with self._lock:
            for name, repository in list(ecr_backends[DEFAULT_ACCOUNT_ID][region].repositories.items()):
                pushed = [image for image in repository.images if not isinstance(image, ecr.LocalImage)]
                taken = {tag for image in pushed for tag in image.image_tags}
                local = [ecr.local_image(image, name, taken) for image in images]
                repository.images = pushed + [image for image in local if image.image_tags]

    def _ensure_role(self, region: str) -> None:
        partition = partition_of(region)
        if partition in self._partitions:
            return
        self._partitions.add(partition)  # once: who deletes it does not want it back
        backend = iam_backends[DEFAULT_ACCOUNT_ID][partition]
        backend.create_role(
            role_name=ROLE_NAME,
            assume_role_policy_document=json.dumps(TRUST),
            path=ROLE_PATH,
            permissions_boundary=None,
            description="localmme's execution role: nothing is checked against it.",
            tags=[],
            max_session_duration="3600",
        )
        backend.attach_role_policy(managed_policy_arn(region, POLICY), ROLE_NAME)


class _OurSession(AssumedRole):
    user_id = ""  # which moto would make up at each call, as IAM need not have the role


def _assumed(access_key_id: str, role_arn: str, session_name: str, region: str) -> dict[str, Any]:
    access_key = AccessKey(None, "ASIA", DEFAULT_ACCOUNT_ID)  # type: ignore[abstract]
    access_key.access_key_id = access_key_id
    return {
        "account_id": DEFAULT_ACCOUNT_ID,
        "region_name": region,
        "access_key": access_key,
        "role_session_name": session_name,
        "role_arn": role_arn,
        "policy": "",
        "duration": 0,
        "external_id": "",
    }


def introduce_region(region: str) -> None:
    """Have moto know a region, whatever its name."""
    names: list[Any] = [service.moto_name for service in MOTO_SERVICES.values()]  # moto has a type of its own for them
    for name in [*names, USED_BY_AUTOSCALING]:
        backends = get_backend(name)[DEFAULT_ACCOUNT_ID]
        # IAM and STS have partitions instead of regions.
        if ORDINARY_REGION in backends and region not in backends:
            backends.regions.append(region)


def _application(service: AwsService) -> flask.Flask:
    name: Any = service.moto_name  # moto has a type of its own for it
    application = create_backend_app(name)
    application.debug = False  # so that errors come to the handler

    def answer(error: Exception) -> flask.Response:
        """An exception in moto, as an AWS error."""
        request = AwsRequest(flask.request.environ["asgi.scope"])  # which ServiceCall.for_moto has written
        request.service = service.signing_name
        if isinstance(error, NotImplementedError):
            failure = AwsError("NotImplemented", 501, f"moto, which answers for {name} here, says: {error}")
        elif isinstance(error, HTTPException):
            failure = AwsError(
                "InvalidAction",
                error.code or 500,
                f"moto, which answers for {name} here, does not have this operation: {error.description}",
            )
        elif wrong := _misfit(service.signing_name, error):
            code = "ValidationException" if is_json(request) else "ValidationError"
            failure = AwsError(code, 400, f"moto, which answers for {name} here, does not accept the request: {wrong}.")
        else:
            log.exception("moto's %s failed", name, exc_info=error)
            failure = AwsError("NotImplemented", 501, _not_emulated(service.signing_name, name, error))
        headers, body = written(request, failure)
        return flask.Response(body, failure.status, [(name.decode(), value.decode()) for name, value in headers])

    application.register_error_handler(Exception, answer)
    return application


def _misfit(signing: str, error: Exception) -> str:
    """What is wrong with the request under way, which ``ServiceCall.for_moto`` wrote."""
    operation, document = _under_way()
    wrong = misfit(signing, operation, document, flask.request.form)
    if not wrong and isinstance(error, ValueError):  # moto's are numbers
        given = TOKENS & (flask.request.form if document is None else document).keys()
        wrong = f"{given.pop()} is not a token that it returned" if given else ""
    return wrong


def _not_emulated(signing: str, name: str, error: Exception) -> str:
    """What to say of the request under way, which is right, but more than moto can do."""
    operation, document = _under_way()
    words = (
        f"{operation} with these parameters is not emulated: moto, which answers for {name} here, failed at it "
        f"({type(error).__name__}: {error})."
    )
    left_out = omitted(signing, operation, document, flask.request.form)
    return f"{words} Optional parameters that it may need: {', '.join(left_out)}." if left_out else words


def _under_way() -> tuple[str, Any]:
    """The operation of the request under way, and its parameters as JSON: None in the query protocol."""
    target = flask.request.headers.get("X-Amz-Target", "")
    return (
        target.partition(".")[2] or flask.request.form["Action"],
        json.loads(flask.request.get_data()) if target else None,
    )
