"""Train the cities' models, serve them, invoke them cold and warm, and show what the emulator did.

    python samples/house_prices/demo.py [--cities N] [--url URL]

With ``--url`` it invokes the models of an emulator that runs already, and neither trains nor serves.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from cities import TARGET_MODELS
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).parent
ENDPOINT_NAME = "local"
HOUSE = {"rooms": 3, "square_meters": 80, "age": 20}
WARM_INVOCATIONS = 5
MAX_LOADED_MODELS = 5  # fewer than there are cities, so that some have to leave


@contextlib.contextmanager
def emulator() -> Iterator[str]:
    """Train the models and serve them, on a free port; the emulator's URL."""
    with tempfile.TemporaryDirectory() as directory:
        models = Path(directory, "s3")
        subprocess.run([sys.executable, HERE / "train.py", "--output", models], check=True)
        command = [sys.executable, "-m", "localmme.cli", "serve", "--models", models, "--port", "0"]
        command += ["--handler", HERE / "handler.py", "--max-loaded-models", str(MAX_LOADED_MODELS)]
        command += ["--state-dir", Path(directory, "state")]
        log = Path(directory, "log")
        with log.open("w") as errors, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors) as process:
            try:
                line = process.stdout.readline().decode().strip()
                if not line:
                    sys.exit(log.read_text())
                print(line)
                yield line.split(" at ")[1].split()[0]
                print("What the emulator logged:")
                print("".join(f"  {line}\n" for line in log.read_text().splitlines()))
            finally:
                process.terminate()


def sagemaker_runtime(url: str) -> Any:
    """The client that talks to SageMaker, talking to the emulator."""
    return boto3.client(
        "sagemaker-runtime",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="placeholder",
        aws_secret_access_key="placeholder",
        config=Config(retries={"total_max_attempts": 1}),  # a retry would count as a slow invocation
    )


def invoke(runtime: Any, target_model: str) -> tuple[dict[str, Any], float]:
    """The answer to HOUSE, and the milliseconds that it took."""
    start = time.perf_counter()
    response = runtime.invoke_endpoint(
        EndpointName=ENDPOINT_NAME,
        TargetModel=target_model,
        ContentType="application/json",
        Accept="application/json",
        Body=json.dumps(HOUSE),
    )
    answer = json.loads(response["Body"].read())
    return answer, (time.perf_counter() - start) * 1000


def invocations(runtime: Any, target_models: list[str]) -> Table:
    """Invoke each model, which loads it, and then again while it is in memory."""
    table = Table("city", title="Invocations", title_justify="left", box=SIMPLE, pad_edge=False)
    for heading in ("price", "cold ms", "warm ms", "speed-up"):
        table.add_column(heading, justify="right")
    for target_model in target_models:
        answer, cold = invoke(runtime, target_model)
        warm = statistics.median(invoke(runtime, target_model)[1] for _ in range(WARM_INVOCATIONS))
        table.add_row(answer["city"], f"{answer['prices'][0]:,}", f"{cold:.1f}", f"{warm:.1f}", f"{cold / warm:.0f} x")
    return table


def models(url: str) -> Table:
    """What the emulator says of each model."""
    with urllib.request.urlopen(f"{url}/_localmme/state", timeout=10) as response:
        endpoint = json.load(response)["endpoints"][0]
    table = Table(title="Models", title_justify="left", box=SIMPLE, pad_edge=False)
    table.add_column("target model", no_wrap=True)
    for heading in ("is in", "size", "loads", "invocations", "evictions"):
        table.add_column(heading, justify="right")
    for model in endpoint["models"]:
        table.add_row(
            model["target_model"],
            "memory" if model["in_memory"] else "disk" if model["on_disk"] else "S3",
            f"{model['size_bytes'] / 1024:.1f} KiB",
            *(str(model[count]) for count in ("loads", "invocations", "unloads")),
        )
    return table


def main() -> None:
    """Print the two tables, or one line that says what is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", help="an emulator that runs already, such as http://127.0.0.1:8080")
    parser.add_argument("--cities", type=int, default=len(TARGET_MODELS), metavar="N", help="how many cities")
    asked = parser.parse_args()
    console, url = Console(), ""
    try:
        with contextlib.nullcontext(asked.url.rstrip("/")) if asked.url else emulator() as url:
            console.print(invocations(sagemaker_runtime(url), TARGET_MODELS[: asked.cities]))
            console.print(models(url))
    except ClientError as refusal:
        sys.exit(str(refusal))
    except (OSError, ValueError, BotoCoreError) as trouble:
        advice = " Start one with: localmme serve --models DIR" if asked.url else ""
        sys.exit(f"No emulator answers at {asked.url or url}: {trouble}.{advice}")


if __name__ == "__main__":
    main()
