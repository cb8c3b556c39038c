"""A plug-in of botocore that sends calls to STS to AWS_ENDPOINT_URL, where a client was made for AWS's own address.

Both SageMaker Python SDKs name ``https://sts.REGION.amazonaws.com`` in their code, and that goes before the
environment: ``default_bucket()`` and ``get_execution_role()`` would ask AWS. All their other clients follow the
environment. This file is alone in its directory, because ``localmme env`` puts that on the path of Pythons that have
no localmme; for the same reason it imports the standard library only.
"""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit

AMAZON = (".amazonaws.com", ".amazonaws.com.cn")


def initialize_client_plugin(client: Any) -> None:
    """What botocore calls with each client that it makes."""
    client.meta.events.register("before-call.sts", redirect)


def redirect(params: dict[str, Any], **_: Any) -> None:
    """Change the address of a call that goes to AWS, before it is signed."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL_STS") or os.environ.get("AWS_ENDPOINT_URL")
    address = urlsplit(params["url"])
    if endpoint and (address.hostname or "").endswith(AMAZON):
        params["url"] = endpoint.rstrip("/") + (address.path or "/")
