"""How a transform job sends its records: as its request says, or its container, or else the defaults. [dg]"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from emulator.jobs.record_splitting import MB
from emulator.jobs.transform_definition import TransformDefinition

PATH = "/execution-parameters"
STRATEGIES = {"MULTI_RECORD": False, "SINGLE_RECORD": True, "MultiRecord": False, "SingleRecord": True}


@dataclass(frozen=True)
class ExecutionParameters:
    """They are those of one job."""

    max_concurrent: int = 1
    max_payload_mb: int = 6
    single_records: bool = False

    @property
    def max_bytes(self) -> int:
        """The most bytes of a payload; 0 = any number."""
        return self.max_payload_mb * MB

    def __str__(self) -> str:
        """As the job's log has them. [reports]"""
        strategy = "SINGLE_RECORD" if self.single_records else "MULTI_RECORD"
        return (
            f"MaxConcurrentTransforms={self.max_concurrent}, MaxPayloadInMB={self.max_payload_mb}, "
            f"BatchStrategy={strategy}"
        )


def execution_parameters(job: TransformDefinition, answer: bytes) -> ExecutionParameters:
    """Those of a job whose container has given this answer, which may be empty.

    What is not of the right type in the answer is ignored. [ours]
    """
    found = _members(answer)
    defaults = ExecutionParameters()
    concurrent = job.max_concurrent or _number(found, "MaxConcurrentTransforms") or defaults.max_concurrent
    payload = _number(found, "MaxPayloadInMB") if job.max_payload_mb is None else job.max_payload_mb
    single = STRATEGIES.get(str(found.get("BatchStrategy"))) if job.single_records is None else job.single_records
    return ExecutionParameters(
        concurrent,
        defaults.max_payload_mb if payload is None else payload,
        defaults.single_records if single is None else single,
    )


def _members(answer: bytes) -> dict[str, Any]:
    try:
        found = json.loads(answer)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _number(found: dict[str, Any], name: str) -> int | None:
    value = found.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 100 else None
