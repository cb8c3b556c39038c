"""Models for AWS's PyTorch and Hugging Face containers, which their libraries make once per machine."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.support.real_servers import provision
from tests.support.real_servers.making import CACHE, lock
from tests.support.real_servers.models import pack

SCRIPT = Path(__file__).with_name("inside") / "torch_models.py"


def directories() -> Path:
    """The directory with a directory for each model, see ``SCRIPT``.

    Raises NotProvisioned when their libraries are not there.
    """
    environment = provision.torch()
    python = environment.python
    made_of = hashlib.sha256(environment.directory.name.encode() + SCRIPT.read_bytes())
    directory = CACHE / f"torch-models-{made_of.hexdigest()[:12]}"
    with lock(directory.with_suffix(".lock")):
        if not directory.exists():
            unfinished = directory.with_suffix(".unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            command = [str(python), str(SCRIPT), str(unfinished)]
            made = subprocess.run(command, capture_output=True, text=True, timeout=300)
            assert made.returncode == 0, made.stderr
            unfinished.rename(directory)
    return directory


def packed(name: str, archive: Path, more: Mapping[str, bytes] = {}) -> Path:
    """Write the archive of one of these models, with further files. Raises what ``directories`` raises."""
    files = {path.name: path.read_bytes() for path in (directories() / name).iterdir()}
    return pack(archive, {**files, **more})
