"""Multi Model Server: the command that runs it as a container would."""

from __future__ import annotations

from pathlib import Path

from tests.support.real_servers import provision

ENTRYPOINT = Path(__file__).with_name("inside") / "mms_entrypoint.py"
HANDLER = Path(__file__).with_name("inside") / "model_handler.py"


def command(handler: Path = HANDLER) -> list[str]:
    """The command, which needs no environment but the platform's; its models are run by a handler file's ``handle``.

    Raises NotProvisioned when it cannot run here.
    """
    return provision.with_java(provision.mms(), ENTRYPOINT, f"{handler}:handle")
