"""Train the cities' models, serve them, invoke them cold and warm, and show what the emulator did.

    python samples/house_prices/demo.py [--cities N] [--url URL] [--keep]

With ``--url`` it invokes the models of a running emulator, and neither trains nor serves. With ``--keep``, the emulator
runs until Ctrl-C, so that you can use it from another terminal.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
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
import psutil
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from cities import TARGET_MODELS
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

import localmme

HERE = Path(__file__).parent
ENDPOINT_NAME = "local"
HOUSE = {"rooms": 3, "square_meters": 80, "age": 20}
WARM_INVOCATIONS = 5
MAX_LOADED_MODELS = 5  # or fewer, where there are fewer cities, so that some are evicted
DIRECTORY = "localmme-demo-"  # and the process's id
PYTHON = os.path.relpath(sys.executable)
NEXT = f"""To go on by yourself:
  {PYTHON} samples/house_prices/train.py --output ./s3
  {PYTHON} -m localmme serve --models ./s3 --handler samples/house_prices/handler.py
and then, in another terminal:
  {PYTHON} -m localmme invoke europe/lisbon.tar.gz --data '{json.dumps(HOUSE)}'
  {PYTHON} -m localmme models"""


@contextlib.contextmanager
def emulator(cities: int) -> Iterator[str]:
    """Train the models of that many cities and serve them on a free port. Yields the emulator's URL."""
    with new_directory() as directory:
        models = Path(directory, "s3")
        print("Training a model of house prices for each city:")
        train = [sys.executable, HERE / "train.py", "--output", models, "--cities", str(cities)]
        subprocess.run(train, check=True)
        most = max(1, min(MAX_LOADED_MODELS, cities - 1))
        print(f"\nServing them, at most {most} in memory at a time:")
        with localmme.serve(models=models, handler=HERE / "handler.py", max_loaded_models=most) as served:
            print(f"Endpoint {ENDPOINT_NAME} is InService at {served.url}")
            yield served.url
            print("What the emulator logged:")
            print("".join(f"  {line}\n" for line in served.logs().splitlines()))


@contextlib.contextmanager
def new_directory() -> Iterator[str]:
    """A temporary directory. Those of demos that were killed are removed."""
    for left in Path(tempfile.gettempdir()).glob(f"{DIRECTORY}*"):
        process = left.name.removeprefix(DIRECTORY).partition("-")[0]
        if process.isdecimal() and not psutil.pid_exists(int(process)):
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"{DIRECTORY}{os.getpid()}-") as directory:
        yield directory


def sagemaker_runtime(url: str) -> Any:
    """boto3's client for SageMaker Runtime, with the emulator's address."""
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


def show_invocations(runtime: Any, target_models: list[str]) -> None:
    """Invoke each model, which loads it, and then again while it is in memory. Prints a line for each."""
    for number, target_model in enumerate(target_models):
        answer, cold = invoke(runtime, target_model)
        if number == 0:  # not earlier: an error message must not follow the headings
            print(f"\nInvoking each, which loads it, and then {WARM_INVOCATIONS} times more:")
            print(f"{'city':<12}{'price':>12}{'cold ms':>12}{'warm ms':>12}")
        warm = statistics.median(invoke(runtime, target_model)[1] for _ in range(WARM_INVOCATIONS))
        print(f"{answer['city']:<12}{answer['prices'][0]:>12,}{cold:>12.1f}{warm:>12.1f}")
    print(
        "cold: the archive is extracted, and a process of its own imports scikit-learn, which takes most of the time,\n"
        "and loads the model. warm: the model is in memory.\n"
    )


def models(url: str) -> Table:
    """The emulator's state of each model."""
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


def wait_for_ctrl_c() -> None:
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            time.sleep(3600)


def main() -> None:
    """Print the two tables, or one line that says what is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", help="the address of a running emulator, such as http://127.0.0.1:8080")
    parser.add_argument("--keep", action="store_true", help="leave it running until Ctrl-C")
    parser.add_argument("--cities", type=int, default=len(TARGET_MODELS), metavar="N", help="how many cities")
    arguments = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)  # so that a pipe's reader sees each line at once
    console, url = Console(), ""
    try:
        with contextlib.nullcontext(arguments.url.rstrip("/")) if arguments.url else emulator(arguments.cities) as url:
            show_invocations(sagemaker_runtime(url), TARGET_MODELS[: arguments.cities])
            console.print(models(url))
            if arguments.keep and not arguments.url:
                print(f"It runs until Ctrl-C. In another terminal:\n  {PYTHON} -m localmme models --url {url}")
                wait_for_ctrl_c()
        if not arguments.url:
            print(NEXT)
    except (ClientError, localmme.ServeError) as refusal:
        sys.exit(str(refusal))
    except (OSError, ValueError, BotoCoreError) as trouble:
        advice = " Start one with: localmme serve --models DIR" if arguments.url else ""
        sys.exit(f"No emulator answers at {arguments.url or url}: {trouble}.{advice}")


if __name__ == "__main__":
    main()
