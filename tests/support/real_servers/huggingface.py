"""The Hugging Face toolkit with Multi Model Server: the command that runs it as AWS's container does."""

from __future__ import annotations

from pathlib import Path

from tests.support.real_servers import provision

ENTRYPOINT = Path(__file__).with_name("inside") / "huggingface_entrypoint.py"


def command() -> list[str]:
    """The command, which needs no environment but the platform's.

    Raises NotProvisioned when it cannot run here.
    """
    return provision.with_java(provision.torch(), ENTRYPOINT)
