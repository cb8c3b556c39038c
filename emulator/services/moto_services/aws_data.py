"""The sessions in which moto reads AWS's own data: they read none of the user's configuration.

A profile that AWS_PROFILE names, and that does not exist, would make moto fail.
"""

from __future__ import annotations

import functools
import os

import boto3.session
import botocore.session
import moto.core.utils
from moto.core.base_backend import AccountSpecificBackend

from emulator import relied_on

relied_on.check(__name__)


def install() -> None:
    """Have moto use them, from now on."""
    AccountSpecificBackend.get_session = _boto3_session  # type: ignore[method-assign]
    moto.core.utils.Session = _botocore_session  # type: ignore[attr-defined]


@functools.cache
def _boto3_session() -> boto3.session.Session:
    return boto3.session.Session(botocore_session=_botocore_session())


def _botocore_session() -> botocore.session.Session:
    nowhere = (None, None, os.devnull, None)
    return botocore.session.Session(
        {"profile": (None, None, None, None), "config_file": nowhere, "credentials_file": nowhere}
    )
