"""What has to be in the environment of AWS clients so that they talk to the emulator, with no change to their code."""

from __future__ import annotations

import os
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

# Any will do: the emulator does not check them. They only keep SDKs from looking for real ones.
PLACEHOLDERS = {"AWS_ACCESS_KEY_ID": "localmme", "AWS_SECRET_ACCESS_KEY": "localmme"}
DEFAULT_REGION = "us-east-1"
REGION_VARIABLES = ("AWS_REGION", "AWS_DEFAULT_REGION")

# What clients find by their environment.
EXPORTED = Path(__file__).with_name("exported")
STS_PLUGIN = "localmme_sts"

# Where the SageMaker SDKs look for an administrator's defaults (Linux, macOS) unless a variable names another file.
ADMINISTRATORS_DEFAULTS = (
    Path("/etc/xdg/sagemaker/config.yaml"),
    Path("/Library/Application Support/sagemaker/config.yaml"),
)


def aws_environment(url: str) -> dict[str, str]:
    """What to export; credentials and defaults of the SageMaker SDKs only where the user has none."""
    from botocore.session import Session

    url = url.rstrip("/")
    return {"AWS_ENDPOINT_URL": url, **missing_settings(Session()), **_past_the_proxy(url), **_for_sagemaker_sdks()}


def emulator_environment(url: str, region: str) -> dict[str, str]:
    """The same, but with credentials and a region that go before the user's own."""
    return {
        "AWS_ENDPOINT_URL": url,
        **PLACEHOLDERS,
        "AWS_SESSION_TOKEN": "",  # one of the user's would go with other keys
        "AWS_DEFAULT_REGION": region,
        "AWS_REGION": region,
        **_past_the_proxy(url),
        **_for_sagemaker_sdks(),
    }


def missing_settings(session: Any) -> dict[str, str]:
    """The settings without which no AWS client works, as far as a botocore session finds none."""
    # Credentials of the machine (EC2's metadata service) are not asked for: that takes long where there is none.
    os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")
    missing = {}
    if session.get_credentials() is None:
        missing.update(PLACEHOLDERS)
    # boto3 reads the second of these, most other SDKs the first. A region of the user's files does not count for the
    # emulator either, and must not for its clients: metrics and logs are in the emulator's.
    here = region()
    missing.update({name: here for name in REGION_VARIABLES if os.environ.get(name) != here})
    return missing


def region() -> str:
    """The region that the emulator pretends to be in."""
    return next(filter(None, map(os.environ.get, REGION_VARIABLES)), DEFAULT_REGION)


def _past_the_proxy(url: str) -> dict[str, str]:
    # A proxy for the Internet cannot reach this machine's own addresses, and SDKs would ask it for them.
    host = urllib.parse.urlsplit(url).hostname or ""
    if "http" not in urllib.request.getproxies() or urllib.request.proxy_bypass(host):
        return {}
    direct = _with_first(host, os.environ.get("no_proxy") or os.environ.get("NO_PROXY", ""), ",")
    return {"no_proxy": direct, "NO_PROXY": direct}


def _for_sagemaker_sdks() -> dict[str, str]:
    settings = {}
    # These SDKs call STS at an address of their own, which only a plug-in of botocore (1.40 and later) can change.
    plugins = os.environ.get("BOTOCORE_EXPERIMENTAL__PLUGINS", "")
    if plugins != "DISABLED":
        settings["BOTOCORE_EXPERIMENTAL__PLUGINS"] = _with_first(f"{STS_PLUGIN}={STS_PLUGIN}", plugins, ",")
        settings["PYTHONPATH"] = _with_first(str(EXPORTED), os.environ.get("PYTHONPATH", ""), os.pathsep)
    if "SAGEMAKER_ADMIN_CONFIG_OVERRIDE" not in os.environ and not any(map(Path.exists, ADMINISTRATORS_DEFAULTS)):
        settings["SAGEMAKER_ADMIN_CONFIG_OVERRIDE"] = str(EXPORTED / "sagemaker.yaml")
    return settings


def _with_first(ours: str, others: str, separator: str) -> str:
    return separator.join([ours, *(other for other in others.split(separator) if other not in ("", ours))])
