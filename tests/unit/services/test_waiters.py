"""Which calls are those of a waiter, and how long they are held."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from emulator.services.sagemaker import waiters
from emulator.services.sagemaker.waiters import HELD, hold, is_waiter
from tests.support.virtual_time import VirtualTimeLoop


@pytest.mark.parametrize(
    "user_agent, waits",
    [
        ("Boto3/1.40.0 md/Botocore#1.40.0 ua/2.1 os/linux m/B", True),
        ("Boto3/1.40.0 md/Botocore#1.40.0 ua/2.1 os/linux m/D,B,Z cfg/retry-mode#legacy", True),
        ("m/B,b", True),
        ("Boto3/1.40.0 md/Botocore#1.40.0 ua/2.1 os/linux m/D,b,Z", False),
        ("Boto3/1.40.0 md/Botocore#1.40.0 ua/2.1 os/linux m/AB", False),
        ("com/B m/A lib/m/B", False),
        ("ua/2.1 m/B2,b", False),
        ("aws-cli/2.1", False),
        ("", False),
    ],
)
def test_a_waiter_is_known_by_a_letter_in_its_user_agent(user_agent: str, waits: bool) -> None:
    assert is_waiter(user_agent) is waits


@pytest.mark.parametrize(
    "statuses, held",
    [
        ({0.0: "InService"}, 0.0),
        ({0.0: "Failed"}, 0.0),
        ({0.0: None}, 0.0),
        ({0.0: "Creating", 3.0: "InService"}, 3.0),
        ({0.0: "Creating", 3.0: "Updating", 5.0: "InService"}, 5.0),
        ({0.0: "Deleting", 3.0: None}, 3.0),
        ({0.0: "Creating"}, HELD["DescribeEndpoint"].seconds),
    ],
)
def test_it_is_held_until_the_endpoint_has_settled_but_not_for_ever(
    monkeypatch: pytest.MonkeyPatch, statuses: dict[float, str | None], held: float
) -> None:
    loop = VirtualTimeLoop()
    monkeypatch.setattr(waiters, "time", SimpleNamespace(monotonic=loop.time))

    class Endpoints:
        def get(self, name: str) -> Any:
            status = [status for when, status in statuses.items() if when <= loop.time()][-1]
            return None if status is None else SimpleNamespace(status=status)

    control_plane: Any = SimpleNamespace(endpoints=Endpoints())
    loop.run(hold("DescribeEndpoint", {"EndpointName": "e"}, "m/B", control_plane))
    assert held <= loop.time() <= held + 2 * waiters.POLL_SECONDS
