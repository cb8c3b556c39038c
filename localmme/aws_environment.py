"""The environment variables with which AWS clients use the emulator, without a change to their code."""

from __future__ import annotations

import os
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Any will do: the emulator does not check them. They only keep SDKs from looking for real ones.
PLACEHOLDERS = {"AWS_ACCESS_KEY_ID": "localmme", "AWS_SECRET_ACCESS_KEY": "localmme"}
DEFAULT_REGION = "us-east-1"
REGION_VARIABLES = ("AWS_REGION", "AWS_DEFAULT_REGION")

# What clients find by their environment.
CLIENT_CONFIGURATION = Path(__file__).with_name("client_configuration")
STS_PLUGIN = "localmme_sts"

# Where the SageMaker SDKs look for an administrator's defaults (Linux, macOS) unless a variable names another file.
ADMINISTRATORS_DEFAULTS = (
    Path("/etc/xdg/sagemaker/config.yaml"),
    Path("/Library/Application Support/sagemaker/config.yaml"),
)


# Of botocore's ways to find credentials, those that neither run a program nor ask a server. What the others find is
# worth nothing here, and they may wait for somebody to type a code.
KEPT_CREDENTIALS = {"env", "shared-credentials-file", "config-file"}


@dataclass(frozen=True)
class Exports:
    """Variables for AWS clients, and a warning if the user's own settings are not used."""

    variables: dict[str, str]
    warning: str = ""


def aws_environment(url: str, region: str, commands: Path | None = None) -> Exports:
    """The variables to export; credentials and SageMaker SDK defaults only if the user has none.

    ``commands`` is a directory of programs that go before those of the same names on the PATH.
    """
    url = url.rstrip("/")
    credentials, problem = users_credentials()
    variables = {
        "AWS_ENDPOINT_URL": url,
        **({} if credentials else PLACEHOLDERS),
        # boto3 reads the second of these, most other SDKs the first. A region of the user's files does not count for
        # the emulator either, and must not for its clients.
        **{name: region for name in REGION_VARIABLES if os.environ.get(name) != region},
        **_instead_of_broken_settings(problem),
        **_past_the_proxy(url),
        **_for_sagemaker_sdks(),
        **_first_on_the_path(commands),
    }
    warning = f"{problem} What is exported takes its place; unset AWS_PROFILE or mend it." if problem else ""
    return Exports(variables, warning)


def emulator_environment(url: str, region: str, commands: Path | None = None) -> dict[str, str]:
    """Like ``aws_environment``, but with credentials and a region that override the user's own."""
    return {
        "AWS_ENDPOINT_URL": url,
        **PLACEHOLDERS,
        "AWS_SESSION_TOKEN": "",  # the user's own would not match these keys
        "AWS_DEFAULT_REGION": region,
        "AWS_REGION": region,
        **_instead_of_broken_settings(users_credentials()[1]),
        **_past_the_proxy(url),
        **_for_sagemaker_sdks(),
        **_first_on_the_path(commands),
    }


def users_credentials() -> tuple[Any, str]:
    """The credentials that the user has in the environment or in a file (None = none there), as botocore keeps them;
    and what is wrong with the user's AWS settings, as a sentence, if no client can be made with them."""
    from botocore.exceptions import BotoCoreError
    from botocore.session import Session

    session = Session()
    try:
        session.get_scoped_config()
    except (BotoCoreError, ValueError, OSError) as error:  # a missing profile, an invalid file
        return None, f"Your AWS configuration cannot be used: {str(error).rstrip('.')}."
    try:
        for provider in session.get_component("credential_provider").providers:
            if provider.METHOD in KEPT_CREDENTIALS and (found := provider.load()) is not None:
                return found, ""
    except (BotoCoreError, ValueError, OSError):  # incomplete credentials
        return None, ""
    return None, ""


def _instead_of_broken_settings(problem: str) -> dict[str, str]:
    """Empty files for clients to read in place of the user's unusable ones."""
    if not problem:
        return {}
    settings = str(CLIENT_CONFIGURATION / "aws_config")
    # The variable that botocore reads first, if it is set.
    profiles = [name for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE") if name in os.environ] or ["AWS_PROFILE"]
    return {
        "AWS_CONFIG_FILE": settings,
        "AWS_SHARED_CREDENTIALS_FILE": settings,
        **dict.fromkeys(profiles, "default"),
    }


def region() -> str:
    """The emulator's region."""
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
        settings["PYTHONPATH"] = _with_first(str(CLIENT_CONFIGURATION), os.environ.get("PYTHONPATH", ""), os.pathsep)
    if "SAGEMAKER_ADMIN_CONFIG_OVERRIDE" not in os.environ and not any(map(Path.exists, ADMINISTRATORS_DEFAULTS)):
        settings["SAGEMAKER_ADMIN_CONFIG_OVERRIDE"] = str(CLIENT_CONFIGURATION / "sagemaker.yaml")
    return settings


def _first_on_the_path(commands: Path | None) -> dict[str, str]:
    if commands is None or os.pathsep in str(commands):
        return {}
    return {"PATH": _with_first(str(commands), os.environ.get("PATH", os.defpath), os.pathsep)}


def _with_first(ours: str, others: str, separator: str) -> str:
    return separator.join([ours, *(other for other in others.split(separator) if other not in ("", ours))])
