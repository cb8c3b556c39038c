"""Invoke the cities' models on a running emulator, first cold and then warm, and show what it did.

python samples/house_prices/demo.py --url http://127.0.0.1:PORT [--cities N]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
import urllib.request
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from cities import TARGET_MODELS
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

ENDPOINT_NAME = "local"
HOUSE = {"rooms": 3, "square_meters": 80, "age": 20}
WARM_INVOCATIONS = 5


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
        state = json.load(response)
    table = Table(title="Models", title_justify="left", box=SIMPLE, pad_edge=False)
    table.add_column("target model", no_wrap=True)
    for heading in ("is in", "size", "loads", "invocations", "evictions"):
        table.add_column(heading, justify="right")
    for model in state.get("models", []):
        table.add_row(
            model.get("target_model", "?"),
            "memory" if model.get("in_memory") else "disk" if model.get("on_disk") else "S3",
            f"{(model.get('size_bytes') or 0) / 1024:.1f} KiB",
            *(str(model.get(count, "?")) for count in ("loads", "invocations", "evictions")),
        )
    return table


def main() -> None:
    """Print the two tables, or one line that says what is wrong."""
    parser = argparse.ArgumentParser(description="Invoke the cities' models, first cold and then warm.")
    parser.add_argument("--url", required=True, help="where the emulator listens, such as http://127.0.0.1:8080")
    parser.add_argument("--cities", type=int, default=len(TARGET_MODELS), metavar="N", help="how many cities")
    asked = parser.parse_args()
    url = asked.url.rstrip("/")
    console = Console()
    try:
        urllib.request.urlopen(f"{url}/_localmme/health", timeout=10).close()
        console.print(invocations(sagemaker_runtime(url), TARGET_MODELS[: asked.cities]))
        console.print(models(url))
    except ClientError as refusal:
        sys.exit(str(refusal))
    except (OSError, ValueError, BotoCoreError) as trouble:
        sys.exit(
            f"No emulator answers at {url} ({trouble}). Start one with: localmme serve --models DIR --handler FILE"
        )


if __name__ == "__main__":
    main()
