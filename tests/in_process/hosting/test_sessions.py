"""Stateful sessions as their callers see them: which instance answers, and what is refused."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support.scripted_models import Journal, scripted_model


def test_calls_of_a_session_go_to_one_instance(scripted, bucket: Path, journal: Journal) -> None:
    opened = {"X-Amzn-SageMaker-New-Session-Id": "s-1; Expires=2999-01-01T00:00:00Z"}
    scripted_model(bucket / "new", invoke={"headers": opened})
    scripted_model(bucket / "a", invoke={"delay": 0.2})
    scripted_model(bucket / "end", invoke={"headers": {"X-Amzn-SageMaker-Closed-Session-Id": "s-1"}})
    scripted_model(bucket / "broken", invoke={"headers": {"X-Amzn-SageMaker-New-Session-Id": "s-2; Expires=never"}})
    emulator = scripted("--instances", "2", "--limit", "busy_invocations=1")

    def call(target_model: str, session: str) -> dict[str, Any]:
        asked = {"EndpointName": "local", "TargetModel": target_model, "Body": b"{}", "SessionId": session}
        return emulator.client().invoke_endpoint(**asked)

    assert call("new", "NEW_SESSION")["NewSessionId"] == "s-1; Expires=2999-01-01T00:00:00Z"
    with ThreadPoolExecutor(6) as pool:  # without a session, they would go to both
        list(pool.map(lambda _: call("a", "s-1"), range(6)))
    entries = journal.entries("invoke")
    assert len({entry["port"] for entry in entries}) == 1 and len(entries) == 7
    assert {entry["headers"]["X-Amzn-SageMaker-Session-Id"] for entry in entries} == {"NEW_SESSION", "s-1"}
    assert call("end", "s-1")["ClosedSessionId"] == "s-1"
    with pytest.raises(ClientError, match="Endpoint local has no session s-1") as caught:
        call("a", "s-1")
    assert caught.value.response["Error"]["Code"] == "ValidationError"
    call("broken", "NEW_SESSION")
    assert "opened a session by a header that cannot be read, 's-2; Expires=never'" in emulator.log
    with pytest.raises(ClientError, match=r"'sessionId' failed to satisfy constraint: .* pattern: \^\[a-zA-Z0-9\]"):
        emulator.client().invoke_endpoint_with_response_stream(
            EndpointName="local", Body=b"{}", SessionId="NEW_SESSION"
        )
