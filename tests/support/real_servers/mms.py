"""Multi Model Server: the command that runs it as a container would."""

from __future__ import annotations

import os
from pathlib import Path

from tests.support.real_servers import provision

ENTRYPOINT = Path(__file__).with_name("inside") / "mms_entrypoint.py"
HANDLER = Path(__file__).with_name("inside") / "model_handler.py"


def command(handler: Path = HANDLER) -> list[str]:
    """The command, which needs no environment but the platform's; its models are run by a handler file's ``handle``.

    Raises NotProvisioned when it cannot run here.
    """
    return provision.with_java(provision.mms(), ENTRYPOINT, f"{handler}:handle")


def command_of_service(service: str) -> list[str]:
    """The command; its models are run by a handler service.

    ``service`` is a module of ``inside``, which may use the packages of ``provision.encoders``.

    Raises NotProvisioned when it cannot run here.
    """
    encoders = provision.encoders()
    assert encoders.python
    path = os.pathsep.join((str(ENTRYPOINT.parent), str(encoders.packages)))
    return ["env", f"PYTHONPATH={path}", *provision.with_java(provision.mms(), ENTRYPOINT, service)]
