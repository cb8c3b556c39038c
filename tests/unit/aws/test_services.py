"""The names of AWS's services: those that botocore and moto know them by."""

from __future__ import annotations

import pytest
from moto.backends import get_backend

from emulator.aws.services import MOTO_SERVICES, SIGNING_NAMES, AwsService, api_model


@pytest.mark.parametrize("service", MOTO_SERVICES.values(), ids=lambda service: service.api_name)
def test_botocore_and_moto_have_the_same_names(service: AwsService) -> None:
    metadata = api_model(service.api_name)["metadata"]
    assert metadata.get("signingName", metadata["endpointPrefix"]) == service.signing_name
    is_json = metadata["protocol"] == "json"
    assert service.target_prefix == (metadata["targetPrefix"] if is_json or service.target_prefix else "")
    assert get_backend(service.moto_name).service_name in (service.api_name, service.moto_name), "moto has it"


def test_a_target_names_one_service() -> None:
    assert SIGNING_NAMES["SageMaker"] == "sagemaker"
    assert len(SIGNING_NAMES) == 1 + sum(bool(service.target_prefix) for service in MOTO_SERVICES.values())
