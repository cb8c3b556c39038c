"""moto's roles and users, which all emulators and applications of one process share."""

from __future__ import annotations

import sys


def forget_roles_and_users() -> None:
    """As in a process that has just begun; to be called before an emulator, or its moto services, are made.

    What other tests did with moto in this process, such as its own mocks, may have left IAM without AWS's policies.
    """
    if "moto" not in sys.modules:
        return
    from moto.core.config import default_user_config

    default_user_config["iam"]["load_aws_managed_policies"] = True
    for service in ("iam", "sts"):
        if models := sys.modules.get(f"moto.{service}.models"):
            # Made anew when they are used. A reset would make IAM's 1,500 policies at once, for each account.
            getattr(models, f"{service}_backends").clear()
