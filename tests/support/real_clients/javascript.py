"""The AWS SDK for JavaScript, version 3, in Node: installed by npm, once per machine."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.real_servers.npm import NodePackages

SCRIPTS = Path(__file__).with_name("inside")
SCRIPT, FAULTS = SCRIPTS / "sdk_javascript.cjs", SCRIPTS / "faults_javascript.cjs"
SECONDS_TO_RUN = 120
PACKAGES = NodePackages(
    "sdk-javascript",
    {
        "@aws-sdk/client-s3": "3.1175.0",
        "@aws-sdk/client-sagemaker": "3.1142.0",
        "@aws-sdk/client-sagemaker-runtime": "3.1164.0",
        "@aws-sdk/client-sts": "3.1177.0",
        "@aws-sdk/s3-request-presigner": "3.1169.0",
    },
)


def run_script(*arguments: str, environment: Mapping[str, str], script: Path = SCRIPT) -> Any:
    """Run a script with nothing but the environment to tell it where AWS is.

    What the last line that it prints says, which is JSON. Raises NotProvisioned when the packages are not there.
    """
    found = {**environment, "NODE_PATH": str(PACKAGES.modules())}
    command = ["node", str(script), *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_TO_RUN, env=found)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return json.loads(ended.stdout.splitlines()[-1])
