"""The sample of an application and its tests runs as it is."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.support.repository import REPOSITORY


def test_the_applications_tests_pass_without_a_model() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "localmme.pytest_plugin"]
    # By its module's name: the entry points of other plugins take a second to import.
    alone = {name: text for name, text in os.environ.items() if not name.startswith(("PYTEST_", "AWS_", "LOCALMME_"))}
    alone |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(REPOSITORY)}
    directory = REPOSITORY / "samples" / "application"
    ended = subprocess.run(
        [*command, "--rootdir", str(directory), "-c", os.devnull, str(directory)],
        capture_output=True,
        text=True,
        timeout=120,
        env=alone,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "5 passed" in ended.stdout
