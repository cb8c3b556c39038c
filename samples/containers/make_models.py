"""Writes the model archives that the plain and the pipeline sample serve: ``python make_models.py [DIRECTORY]``.

DIRECTORY is by default ``pipeline/models`` beside this file, where ``pipeline/endpoint.yaml`` looks for them. In it,
``many`` holds one archive for each city, for the plain container; ``before.tar.gz`` is the pipeline's first step.
"""

from __future__ import annotations

import io
import json
import sys
import tarfile
from pathlib import Path
from typing import Any

# A price in thousands, from rooms and square meters: (rooms - 2) and (square meters - 70) / 10 are the features.
CITIES = {"lisbon": ([12, 35], 260), "porto": ([10, 28], 210), "faro": ([8, 20], 170)}
STEP = {"role": "before", "means": [2, 70], "scales": [1, 10]}


def pack(archive: Path, name: str, content: dict[str, Any]) -> None:
    """Write an archive that has one JSON file at its top."""
    data = json.dumps(content).encode()
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, "w:gz") as tar:
        tar.addfile(member, io.BytesIO(data))


def main(directory: Path) -> None:
    """Write all archives into a directory."""
    for city, (weights, bias) in CITIES.items():
        model = {"weights": weights, "bias": bias, "megabytes": 20}
        pack(directory / "many" / f"{city}.tar.gz", "model.json", model)
    pack(directory / "before.tar.gz", "step.json", STEP)
    print(f"wrote the archives into {directory}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "pipeline" / "models")
