"""Train a small model of house prices for each city, and write the archives that SageMaker loads.

python samples/house_prices/train.py --output DIR [--cities N] [--seed N]
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import sys
import tarfile
from pathlib import Path

import joblib
import numpy as np
from cities import CITIES
from rich.console import Console
from rich.progress import track
from sklearn.ensemble import GradientBoostingRegressor


def houses(price_level: float, generator: np.random.Generator, count: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Invented houses, with the fields in the handler's order, and their prices."""
    square_meters = generator.uniform(25, 250, count)
    rooms = np.clip(np.round(square_meters / 28 + generator.normal(0, 0.8, count)), 1, None)
    age = generator.uniform(0, 100, count)
    fair = price_level * (square_meters + 4 * rooms) * (1 - 0.004 * age)
    return np.column_stack([rooms, square_meters, age]), fair * generator.normal(1, 0.05, count)


def archive(path: Path, contents: dict[str, bytes]) -> None:
    """Write a model archive. Its files are at the root, which is where the handler's ``model_fn`` looks."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, content in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(packed.getvalue(), mtime=0))  # without a time, the same seed gives the same bytes


def train(city: str, path: Path, seed: int) -> float:
    """Train the city's model, write its archive and return its R² on houses that it has not seen."""
    generator = np.random.default_rng([seed, *city.encode()])
    regressor = GradientBoostingRegressor(n_estimators=60, random_state=seed)
    regressor.fit(*houses(CITIES[city], generator))
    dumped = io.BytesIO()
    joblib.dump(regressor, dumped)
    about = json.dumps({"city": city.rpartition("/")[2]})
    archive(path, {"model.joblib": dumped.getvalue(), "about.json": about.encode()})
    return regressor.score(*houses(CITIES[city], generator))


def main() -> None:
    """Train as many cities as the command line says, and print a line for each."""
    parser = argparse.ArgumentParser(description="Train a small model of house prices for each city.")
    parser.add_argument("--output", type=Path, required=True, help="the directory to write the archives to")
    parser.add_argument(
        "--cities",
        type=int,
        default=len(CITIES),
        choices=range(1, len(CITIES) + 1),
        metavar="N",
        help="how many cities (default: all %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same models")
    arguments = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    console = Console()
    # Not console.is_terminal: FORCE_COLOR, which notebooks set, would make it true.
    cities = track(
        list(CITIES)[: arguments.cities], "Training", console=console, transient=True, disable=not sys.stdout.isatty()
    )
    for city in cities:
        path = arguments.output / f"{city}.tar.gz"
        score = train(city, path, arguments.seed)
        size = path.stat().st_size / 1024
        console.print(f"{city + '.tar.gz':<24}  R² {score:.3f}  {size:6.1f} KiB", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
