"""An application that asks an endpoint for the price of a house. It knows nothing of localmme."""

import json

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError


class NoPriceYet(Exception):
    """The city's model is on its way: ask again in a moment."""


def price(city: str, rooms: int) -> int:
    """The price in a city, such as ``europe/lisbon``. Raises NoPriceYet, and LookupError for a city without a model."""
    retries = Config(retries={"mode": "standard", "total_max_attempts": 2}, read_timeout=60)
    runtime = boto3.session.Session().client("sagemaker-runtime", config=retries)
    try:
        answer = runtime.invoke_endpoint(
            EndpointName="prices",
            TargetModel=f"{city}.tar.gz",
            ContentType="application/json",
            Body=json.dumps({"rooms": rooms}),
        )
    except runtime.exceptions.ModelNotReadyException:
        raise NoPriceYet(city) from None
    except ClientError as error:
        if "Failed to download model data" in error.response["Error"]["Message"]:
            raise LookupError(f"There are no prices for {city}.") from None
        raise
    return json.load(answer["Body"])["price"]
