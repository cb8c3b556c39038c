"""Triton Inference Server: the command that runs it as its SageMaker image would."""

from __future__ import annotations

from pathlib import Path

from tests.support.real_servers import provision

ENTRYPOINT = Path(__file__).with_name("inside") / "triton_entrypoint.py"


def command() -> list[str]:
    """The command, which needs no environment but the platform's.

    Raises NotProvisioned when it cannot run here.
    """
    return [str(provision.triton().python), str(ENTRYPOINT)]
