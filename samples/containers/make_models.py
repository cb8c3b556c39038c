"""Writes the model archives that the sample containers serve: ``python samples/containers/make_models.py [DIRECTORY]``.

The default DIRECTORY is ``pipeline/models`` beside this file, where ``pipeline/endpoint.yaml`` looks for archives:

    many/           an archive for each city, for the plain container and for Multi Model Server
    triton/         the same models for Triton
    before.tar.gz   the pipeline's first step
"""

from __future__ import annotations

import io
import json
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path

HERE = Path(__file__).parent

# A price in thousands, from rooms and square meters: (rooms - 2) and (square meters - 70) / 10 are the features.
CITIES = {"lisbon": ([12, 35], 260), "porto": ([10, 28], 210), "faro": ([8, 20], 170)}
STEP = {"role": "before", "means": [2, 70], "scales": [1, 10]}


def pack(archive: Path, files: Mapping[str, str]) -> None:
    """Write an archive of texts by their paths in it."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, "w:gz") as tar:
        for path, text in files.items():
            data = text.encode()
            member = tarfile.TarInfo(path)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def triton_model(weights: list[int], bias: int) -> dict[str, str]:
    """The files of a model for Triton."""
    directory = HERE / "triton" / "model"
    parameters = (
        f'parameters {{ key: "{key}" value {{ string_value: "{json.dumps(value)}" }} }}\n'
        for key, value in (("weights", weights), ("bias", bias))
    )
    return {
        "model/config.pbtxt": (directory / "config.pbtxt").read_text() + "".join(parameters),
        "model/1/model.py": (directory / "1" / "model.py").read_text(),
    }


def main(directory: Path) -> None:
    """Write all archives into a directory."""
    for city, (weights, bias) in CITIES.items():
        model = {"weights": weights, "bias": bias, "megabytes": 20}
        pack(directory / "many" / f"{city}.tar.gz", {"model.json": json.dumps(model)})
        pack(directory / "triton" / f"{city}.tar.gz", triton_model(weights, bias))
    pack(directory / "before.tar.gz", {"step.json": json.dumps(STEP)})
    print(f"wrote the archives into {directory}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "pipeline" / "models")
