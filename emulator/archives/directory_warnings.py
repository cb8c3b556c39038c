"""Warnings about a directory of models, when an endpoint starts: clearer than the errors of its first invocations."""

from __future__ import annotations

from itertools import islice

from emulator.archives.directory_source import DirectorySource
from emulator.archives.source import ModelSource
from emulator.aws.errors import AwsError

ARCHIVES = (".tar.gz", ".tgz")
# What frameworks and people save models as, without an archive around it. [ours]
BARE_MODELS = (
    ".bin", ".cbm", ".ckpt", ".h5", ".joblib", ".keras", ".onnx", ".pickle", ".pkl", ".pt", ".pth", ".safetensors",
    ".sav", ".tflite", ".ubj", ".zip",
)  # fmt: skip
LOOKED_AT = 1000  # files, so that a start takes no longer for a bucket of a million
GZIP = b"\x1f\x8b"


def bare_models(bucket: ModelSource) -> str:
    """A warning about files that look like models but are not archives; empty if all is well.

    If there is no archive at all, every file counts. Real S3 is not listed, as that takes time.
    """
    if not isinstance(bucket, DirectorySource) or bucket.is_read_through:
        return ""
    names = [name for name, _ in islice(bucket.archives(), LOOKED_AT)]
    others = [name for name in names if not name.endswith(ARCHIVES)]
    suspects = [name for name in others if name.lower().endswith(BARE_MODELS)]
    if not suspects and len(others) == len(names):
        suspects = others
    found = [name for name in suspects if not _is_compressed(bucket, name)]
    if not found:
        return ""
    what = "is one file that is" if len(found) == 1 else f"are {len(found)} files that are"
    return (
        f"In {bucket.directory} {what} no model archive: {', '.join(found[:3])}{', ...' if len(found) > 3 else ''}. A "
        "multi-model endpoint takes archives (.tar.gz), each with a model's files and, unless --handler or an image "
        "brings it, its handler code/inference.py. Put these files into a directory for each model, and make an "
        "archive of it: localmme pack DIR -o NAME.tar.gz. Or serve the directories as they are: --unpacked"
    )


def _is_compressed(bucket: DirectorySource, name: str) -> bool:
    try:
        with bucket.open(name) as (file, _):
            return file.read(len(GZIP)) == GZIP
    except (AwsError, OSError):  # it does not exist, or is not readable
        return True
