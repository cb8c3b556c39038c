"""AWS's container for XGBoost: the command that runs the toolkit and the server that it is made of."""

from __future__ import annotations

from pathlib import Path

import xgboost

from tests.support.real_servers import mms
from tests.support.real_servers.models import pack

SERVICE = "xgboost_algorithm"  # a module of ``inside``


def command() -> list[str]:
    """The command, which needs no environment but the platform's.

    Raises NotProvisioned when it cannot run here.
    """
    return mms.command_of_service(SERVICE)


def model(path: Path, number: float) -> Path:
    """Write the archive of a booster that answers each row with one number."""
    parameters = {"nthread": 1, "base_score": number, "max_depth": 1}
    booster = xgboost.train(parameters, xgboost.DMatrix([[0.0], [1.0]], label=[number, number]), 1)
    return pack(path, {"xgboost-model": bytes(booster.save_raw("json"))})
