"""AWS's container for XGBoost: the command that runs the toolkit and the server that it is made of."""

from __future__ import annotations

from tests.support.real_servers import mms

SERVICE = "xgboost_algorithm"  # a module of ``inside``


def command() -> list[str]:
    """The command, which needs no environment but the platform's.

    Raises NotProvisioned when it cannot run here.
    """
    return mms.command_of_service(SERVICE)
