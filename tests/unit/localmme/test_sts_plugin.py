"""botocore's plug-in that leads calls for AWS's own STS to the emulator, and no others."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from localmme.client_configuration import localmme_sts

EMULATOR = "http://127.0.0.1:8080"


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The requests that were sent by the plug-in's own connections."""
    sent: list[Any] = []

    class Session:
        def __init__(self, proxies: Any) -> None: ...

        def send(self, request: Any) -> str:
            sent.append(request.url)
            return "answer"

    monkeypatch.setattr(localmme_sts, "URLLib3Session", Session)
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_STS"):
        monkeypatch.delenv(name, raising=False)
    return sent


@pytest.mark.parametrize(
    "environment, url, led_to",
    [
        ({"AWS_ENDPOINT_URL": EMULATOR}, "https://sts.eu-west-1.amazonaws.com/", f"{EMULATOR}/"),
        ({"AWS_ENDPOINT_URL": f"{EMULATOR}/"}, "https://sts.cn-north-1.amazonaws.com.cn", f"{EMULATOR}/"),
        ({"AWS_ENDPOINT_URL": "x", "AWS_ENDPOINT_URL_STS": EMULATOR}, "https://sts.amazonaws.com", f"{EMULATOR}/"),
        ({}, "https://sts.eu-west-1.amazonaws.com/", None),
        ({"AWS_ENDPOINT_URL": EMULATOR}, "http://127.0.0.1:9000/", None),
        ({"AWS_ENDPOINT_URL": EMULATOR}, "https://sts.amazonaws.com.example/", None),
        ({"AWS_ENDPOINT_URL": EMULATOR}, "https://notamazonaws.com/", None),
    ],
)  # fmt: skip
def test_what_is_meant_for_aws_goes_to_the_emulator(
    sent: list[Any], monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], url: str, led_to: str | None
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    request = SimpleNamespace(url=url, headers={})
    assert localmme_sts.send(request) == ("answer" if led_to else None)
    assert sent == ([led_to] if led_to else [])
    assert request.url == (led_to or url)
    # The signature is that of AWS's own host.
    assert request.headers == ({"Host": url.removeprefix("https://").rstrip("/")} if led_to else {})
