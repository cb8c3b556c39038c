"""A plug-in of botocore that sends calls to STS to AWS_ENDPOINT_URL, where a client was made for AWS's own address.

Both SageMaker Python SDKs name ``https://sts.REGION.amazonaws.com`` in their code, and that goes before the
environment: ``default_bucket()`` and ``get_execution_role()`` would ask AWS. All their other clients follow the
environment. This file is alone in its directory, because ``localmme env`` puts that on the path of Pythons that have
no localmme; for the same reason it imports nothing but botocore.
"""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit

from botocore.httpsession import URLLib3Session
from botocore.utils import get_environ_proxies

AMAZON = (".amazonaws.com", ".amazonaws.com.cn")


def initialize_client_plugin(client: Any) -> None:
    """What botocore calls with each client that it makes."""
    client.meta.events.register("before-send.sts", send)


def send(request: Any, **_: Any) -> Any:
    """Send a call that was meant for AWS; its answer. None for other calls, which go their own way."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL_STS") or os.environ.get("AWS_ENDPOINT_URL")
    address = urlsplit(request.url)
    if not endpoint or not (address.hostname or "").endswith(AMAZON):
        return None
    request.headers["Host"] = address.netloc  # which is signed, and with --access the signature is verified
    request.url = endpoint.rstrip("/") + (address.path or "/")
    # Not by the client's own connections: those to AWS's address may lead through a proxy.
    return URLLib3Session(proxies=get_environ_proxies(request.url)).send(request)
