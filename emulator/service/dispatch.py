"""One port, several services: tells which one a request is for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from emulator.service.addressed import header, service_of
from emulator.service.neighbours.face import Neighbours
from emulator.service.runtime import PREFIX as RUNTIME_PREFIX
from emulator.service.runtime import Receive, Runtime, Scope, Send
from emulator.service.s3.addressing import is_for_s3
from emulator.service.sagemaker import TARGET_PREFIX

if TYPE_CHECKING:
    from emulator.service.s3.face import S3
    from emulator.service.sagemaker.face import SageMaker


class Dispatch:
    """SageMaker Runtime by its path, SageMaker by its header, S3 by its signature or its buckets, other AWS services by
    their signature or their target.

    All else goes to ``others``, a Flask app.
    """

    def __init__(
        self,
        runtime: Runtime,
        sagemaker: SageMaker,
        s3: S3 | None,
        neighbours: Neighbours,
        others: Callable[[Scope, Receive, Send], Awaitable[None]],
    ) -> None:
        self._runtime = runtime
        self._sagemaker = sagemaker
        self._s3 = s3
        self._neighbours = neighbours
        self._others = others

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_runtime = scope["path"].startswith(RUNTIME_PREFIX)
        # Invocations are POSTs without a query. What else begins so may be a key of a bucket that the host names.
        if is_runtime and scope["method"] == "POST" and not scope["query_string"]:
            await self._runtime(scope, receive, send)
        elif header(scope, b"x-amz-target").startswith(TARGET_PREFIX):
            await self._sagemaker(scope, receive, send)
        elif self._s3 is not None and is_for_s3(scope, self._s3.has_bucket):
            await self._s3(scope, receive, send)
        elif is_runtime:
            await self._runtime(scope, receive, send)
        elif service_of(scope) not in (None, "s3", "sagemaker"):
            await self._neighbours(scope, receive, send)
        else:
            await self._others(scope, receive, send)
