"""Model archives for the real servers; each model multiplies by a number of its own, so that a wrong one is noticed."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

TRITON_MODEL = Path(__file__).with_name("inside") / "triton_model.py"
TRITON_CONFIGURATION = """
backend: "python"
max_batch_size: 0
input [ { name: "INPUT" data_type: TYPE_FP32 dims: [ -1 ] } ]
output [ { name: "OUTPUT" data_type: TYPE_FP32 dims: [ -1 ] } ]
instance_group [ { kind: KIND_CPU } ]
"""


def mms_model(directory: Path, name: str, number: float, *, megabytes: int = 0, out_of_memory: bool = False) -> Path:
    """Write the archive of a model for Multi Model Server, which the handler in model_handler.py runs.

    Loaded, it takes so many megabytes, or fails for want of memory.
    """
    settings = {"number": number, "megabytes": megabytes, "out_of_memory": out_of_memory}
    return pack(directory / name, {"model.json": json.dumps(settings).encode()})


def triton_model(
    directory: Path,
    name: str,
    factor: float,
    *,
    megabytes: int = 0,
    out_of_memory: bool = False,
    subdirectory: str = "multiplier/",
) -> Path:
    """Write the archive of a model for Triton's Python backend.

    Loaded, it takes so many megabytes, or fails for want of memory. Its files are in a directory, or with no
    subdirectory at the root of the archive.
    """
    settings = {"factor": factor, "megabytes": megabytes, "out_of_memory": int(out_of_memory)}
    parameters = (
        f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}' for key, value in settings.items()
    )
    files = {
        f"{subdirectory}config.pbtxt": "\n".join((TRITON_CONFIGURATION, *parameters)).encode(),
        f"{subdirectory}1/model.py": TRITON_MODEL.read_bytes(),
    }
    return pack(directory / name, files)


def pack(archive: Path, files: Mapping[str, bytes]) -> Path:
    """Write a tar.gz of files."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return archive


def unpack(archive: Path, directory: Path) -> Path:
    """Extract an archive as the platform does, and tell where: what a load is given."""
    with tarfile.open(archive) as tar:
        tar.extractall(directory, filter="data")
    return directory
