"""An emulator with something to see: models that are loaded, evicted, fail and write, and calls of all kinds."""

from __future__ import annotations

import contextlib
from pathlib import Path

from botocore.exceptions import ClientError

from tests.support.emulator_process import Emulator
from tests.support.files import archive

HANDLER = """
import struct
import zlib
from pathlib import Path

def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

PIXELS = zlib.compress(2 * (b"\\x00" + 2 * b"\\xff\\x80\\x00"))
HEADER = struct.pack(">IIBBBBB", 2, 2, 8, 2, 0, 0, 0)
PNG = b"\\x89PNG\\r\\n\\x1a\\n" + chunk(b"IHDR", HEADER) + chunk(b"IDAT", PIXELS) + chunk(b"IEND", b"")

def model_fn(directory):
    if Path(directory, "broken").exists():
        raise RuntimeError("these are no <b>weights</b>")
    print("\\x1b[31mloaded\\x1b[0m <img src=x onerror=alert(2)>", flush=True)

def transform_fn(model, data, content_type, accept):
    body = data.encode() if isinstance(data, str) else bytes(data)
    if body == b"boom":
        print("\\x1b]0;title\\x07it breaks", flush=True)
        raise ValueError("<script>alert(3)</script> is no input")
    if accept == "text/csv":
        return 'city,"price"\\noslo,"1,5"\\n', accept
    if accept == "image/png":
        return PNG, accept
    return body, content_type or "application/octet-stream"
"""
HOSTILE = "<img src=x onerror=alert(1)>.tar.gz"
QUOTED = 'it\'s a "$HOME" `id` \\n %s.tar.gz'
BROKEN = "europe/broken.tar.gz"
MODELS = ["asia/osaka.tar.gz", "asia/kyoto.tar.gz", "europe/lisbon.tar.gz", "europe/oslo.tar.gz", HOSTILE, QUOTED]


def shown_emulator(directory: Path, *options: str) -> Emulator:
    """One with these models, of which each instance can have two in memory; none has been called yet."""
    (directory / "handler.py").write_text(HANDLER)
    for name in MODELS:
        archive(directory / "s3" / name, {"weights": name})
    archive(directory / "s3" / BROKEN, {"broken": ""})
    models = ("--models", str(directory / "s3"), "--handler", str(directory / "handler.py"))
    return Emulator(*models, "--max-loaded-models", "2", *options, state=directory / "state").wait_in_service()


def call_all(emulator: Emulator) -> None:
    """Call each model, warm and cold; and two that answer with an error."""
    for name in MODELS:
        for body in (b'{"rooms": 3}', b'{"rooms": 4}'):
            emulator.invoke(name, body)
    for name, body in ((MODELS[0], b"boom"), (BROKEN, b"{}")):
        with contextlib.suppress(ClientError):
            emulator.invoke(name, body)
