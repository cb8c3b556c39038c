"""Files of tests: model archives, and what is below a directory."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path


def archive(path: Path, files: Mapping[str, str | bytes]) -> Path:
    """Write a model.tar.gz with these files; replaces what is there at once, as S3 does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as tar:
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    hidden = path.with_name("." + path.name)
    hidden.write_bytes(buffer.getvalue())
    hidden.rename(path)
    return path


def files_below(directory: Path) -> list[Path]:
    """Every file there. What is deleted meanwhile is passed over; ``Path.rglob`` would raise."""
    return [Path(folder, name) for folder, _, names in os.walk(directory) for name in names]
