"""The actions by which faults are made and cleared."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from emulator.console.actions import ActionRefused, Actions
from emulator.events import Events
from emulator.server.fault_actions import add_fault_actions
from emulator.services.runtime.faults import Faults


def take(name: str, **members: Any) -> dict[str, Any]:
    return asyncio.run(ACTIONS.take(name, members))


ACTIONS = Actions(Events())
add_fault_actions(ACTIONS, Faults())


def test_faults_are_made_listed_and_cleared() -> None:
    made = take("fault", fault="ModelError", times=2)
    assert made["message"] == "ModelError: 2 calls."
    other = take("fault", fault="Latency", seconds=0.1)["number"]
    listed = take("faults")
    assert [fault["fault"] for fault in listed["faults"]] == ["ModelError", "Latency"]
    assert listed["message"] == "ModelError: 2 calls; Latency: all calls until it is cleared"
    assert take("clear-faults", number=other) == {"message": "1 fault cleared.", "cleared": 1}
    assert take("clear-faults", number=other)["message"] == "No faults cleared."
    assert [fault["number"] for fault in take("faults")["faults"]] == [made["number"]]
    assert take("clear-faults")["cleared"] == 1
    assert take("faults") == {"message": "There are no faults.", "faults": [], "sentences": []}


def test_what_happens_at_once_is_done_by_the_action_of_its_kind() -> None:
    async def kill(members: Any) -> dict[str, Any]:
        return {"message": f"{members['endpoint_name']} is killed."}

    ACTIONS.add("kill-container", kill)
    killed = take("fault", fault="KillContainer", endpoint_name="e")
    assert killed == {"message": "e is killed.", "number": 0}


@pytest.mark.parametrize(
    ("name", "members"), [("fault", {"fault": "ModelErorr"}), ("clear-faults", {"number": "1"}), ("fault", {})]
)
def test_what_is_invalid_is_refused(name: str, members: dict[str, Any]) -> None:
    with pytest.raises(ActionRefused) as refused:
        take(name, **members)
    assert refused.value.status == 400 and refused.value.message
