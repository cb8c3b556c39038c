"""The actions ``fault``, ``clear-faults`` and ``faults``: faults by POST, for the page, the commands and tests."""

from __future__ import annotations

from typing import Any

from emulator.console.actions import ActionRefused, Actions, Members
from emulator.errors import SetupError
from emulator.services.runtime.faults import Faults

# What is no fault that lasts, but is done at once: other actions.
AT_ONCE = {"KillContainer": "kill-container", "LoseInstance": "lose-instance"}


def add_fault_actions(actions: Actions, faults: Faults) -> None:
    """Take these actions from now on."""

    async def inject(members: Members) -> dict[str, Any]:
        if (action := AT_ONCE.get(str(members.get("fault")))) is not None:
            others = {name: value for name, value in members.items() if name != "fault"}
            return {**await actions.take(action, others), "number": 0}
        try:
            fault = faults.add(members)
        except SetupError as error:
            raise ActionRefused(str(error)) from None
        return {"message": f"{fault.sentence()}.", "number": fault.number}

    async def clear(members: Members) -> dict[str, Any]:
        number = members.get("number")
        if number is not None and (not isinstance(number, int) or isinstance(number, bool)):
            raise ActionRefused(f"number must be that of a fault, not {number!r:.100}.")
        count = len(faults.clear(number))
        return {"message": f"{count or 'No'} fault{'' if count == 1 else 's'} cleared.", "cleared": count}

    async def listed(_: Members) -> dict[str, Any]:
        sentences = [fault.sentence() for fault in faults.all]
        message = "; ".join(sentences) or "There are no faults."
        return {"message": message, "faults": faults.listed(), "sentences": sentences}

    actions.add("fault", inject)
    actions.add("clear-faults", clear)
    actions.add("faults", listed, changes=False)
