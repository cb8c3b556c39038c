"""SageMaker's control plane over HTTP, an ASGI application: JSON 1.1, the operation named by X-Amz-Target."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from emulator.aws.asgi import BodyBrokenOff, BodyTooLong, Receive, Send, read_body, send_answer
from emulator.aws.errors import AwsError, not_serializable
from emulator.aws.json_document import parsed
from emulator.aws.protocols import JSON_1_1, id_headers, send_error
from emulator.aws.request import AwsRequest
from emulator.aws.service_models import input_shape_name, operation_names, shape
from emulator.containers.docker.aws_network import ADDRESS
from emulator.services.sagemaker import (
    empty_lists,
    endpoint_configs,
    endpoints,
    models,
    operation_of,
    tags,
    training_jobs,
    transform_jobs,
)
from emulator.services.sagemaker.control_plane import ControlPlane
from emulator.services.sagemaker.errors import (
    ending,
    failed,
    no_code_of_containers,
    not_emulated,
    not_kept,
    unknown_operation,
)
from emulator.services.sagemaker.validation import check
from emulator.services.sagemaker.waiters import hold

REQUEST_BYTES = 4 << 20  # [ours] far more than any operation takes

Operation = Callable[[ControlPlane, dict[str, Any]], Awaitable[dict[str, Any]]]
OPERATIONS: dict[str, Operation] = {
    "CreateModel": models.create,
    "DescribeModel": models.describe,
    "ListModels": models.list_,
    "DeleteModel": models.delete,
    "CreateEndpointConfig": endpoint_configs.create,
    "DescribeEndpointConfig": endpoint_configs.describe,
    "ListEndpointConfigs": endpoint_configs.list_,
    "DeleteEndpointConfig": endpoint_configs.delete,
    "CreateEndpoint": endpoints.create,
    "DescribeEndpoint": endpoints.describe,
    "ListEndpoints": endpoints.list_,
    "UpdateEndpoint": endpoints.update,
    "UpdateEndpointWeightsAndCapacities": endpoints.update_weights_and_capacities,
    "DeleteEndpoint": endpoints.delete,
    "CreateTrainingJob": training_jobs.create,
    "DescribeTrainingJob": training_jobs.describe,
    "ListTrainingJobs": training_jobs.list_,
    "StopTrainingJob": training_jobs.stop,
    "DeleteTrainingJob": training_jobs.delete,
    "CreateTransformJob": transform_jobs.create,
    "DescribeTransformJob": transform_jobs.describe,
    "ListTransformJobs": transform_jobs.list_,
    "StopTransformJob": transform_jobs.stop,
    "AddTags": tags.add,
    "ListTags": tags.list_,
    "DeleteTags": tags.delete,
}
RUN_CODE = ("CreateModel", "CreateTrainingJob", "CreateTransformJob")

log = logging.getLogger("localmme")


class SageMakerApp:
    """The operations of the SageMaker API that concern hosting and jobs."""

    def __init__(self, control_plane: ControlPlane) -> None:
        self._control_plane = control_plane
        self._stopped = False

    async def __call__(self, request: AwsRequest, receive: Receive, send: Send) -> None:
        try:
            body = json.dumps(await self._answer(request, receive)).encode()
        except AwsError as error:
            await send_error(request, error, send)
        except OSError as error:
            await send_error(request, not_kept(error.strerror or str(error)), send)
        except Exception:
            log.exception("request %s failed inside the emulator", request.id)
            await send_error(request, failed("The emulator failed; see its log."), send)
        else:
            await send_answer(send, 200, [*id_headers(request), (b"content-type", JSON_1_1.encode())], body)

    async def _answer(self, request: AwsRequest, receive: Receive) -> dict[str, Any]:
        body = await _read(receive)
        name = operation_of(request.target)
        operation = OPERATIONS.get(name) or empty_lists.operation(name)
        if operation is None:
            raise not_emulated(name) if name in operation_names() else unknown_operation(name)
        # What was authorised is what is executed: the same document, not the body parsed once more.
        document = parsed(body) if request.content is None else request.content
        check(shape(input_shape_name(name)), document)
        if name in RUN_CODE and request.address == ADDRESS:  # it would come to run code outside of its container
            raise no_code_of_containers()
        await hold(name, document, request.header(b"user-agent"), self._control_plane)
        if name.startswith(("Describe", "List")):
            return await operation(self._control_plane, document)
        # A change that has begun is completed, even if its caller has gone.
        return await asyncio.shield(self._change(operation, document))

    async def _change(self, operation: Operation, document: dict[str, Any]) -> dict[str, Any]:
        async with self._control_plane.changing:
            if self._stopped:
                raise ending()
            return await operation(self._control_plane, document)

    async def stop(self) -> None:
        """Wait until the change under way is complete, and refuse all later ones."""
        self._stopped = True
        async with self._control_plane.changing:
            pass


async def _read(receive: Receive) -> bytes:
    """The request's body. Raises AwsError when it is too long or ends early."""
    try:
        return await read_body(receive, REQUEST_BYTES)
    except BodyBrokenOff:
        raise not_serializable("The request is incomplete: its body ended early") from None
    except BodyTooLong as error:
        raise not_serializable(f"The request has {error.size} bytes, and at most {REQUEST_BYTES} are allowed") from None
