"""What SageMaker says of a request that its API does not take."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.model import StructureShape

from emulator.aws.errors import AwsError
from emulator.aws.service_models import shape
from emulator.services.sagemaker.validation import check

VARIANT = {"VariantName": "A", "ModelName": "m", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
ENUM = "Member must satisfy enum value set: [SingleModel, MultiModel]"


def refusal(name: str, request: Any) -> AwsError:
    of = shape(name)
    assert isinstance(of, StructureShape)
    with pytest.raises(AwsError) as raised:
        check(of, request)
    return raised.value


def config(*variants: Any, **members: Any) -> dict[str, Any]:
    return {"EndpointConfigName": "c", "ProductionVariants": list(variants), **members}


@pytest.mark.parametrize(
    "name, request_, found",
    [
        ("CreateEndpointInput", {"EndpointName": "e"},
         ["Value null at 'endpointConfigName' failed to satisfy constraint: Member must not be null"]),
        ("CreateModelInput", {"ModelName": "m", "PrimaryContainer": {"Mode": "Many"}},
         [f"Value 'Many' at 'primaryContainer.mode' failed to satisfy constraint: {ENUM}"]),
        ("CreateEndpointConfigInput", config(),
         ["Value '[]' at 'productionVariants' failed to satisfy constraint: Member must have length greater than or "
          "equal to 1"]),
        # Items are counted from 1.
        ("CreateEndpointConfigInput", config(VARIANT, {**VARIANT, "InitialInstanceCount": 0}),
         ["Value '0' at 'productionVariants.2.member.initialInstanceCount' failed to satisfy constraint: Member must "
          "have value greater than or equal to 1"]),
        ("CreateEndpointConfigInput", config({**VARIANT, "VolumeSizeInGB": 513}),
         ["Value '513' at 'productionVariants.1.member.volumeSizeInGB' failed to satisfy constraint: Member must have "
          "value less than or equal to 512"]),
        ("CreateEndpointInput", {"EndpointName": "e" * 64, "EndpointConfigName": "c"},
         [f"Value '{'e' * 64}' at 'endpointName' failed to satisfy constraint: Member must have length less than or "
          "equal to 63"]),
        ("CreateModelInput", {"ModelName": "m", "Tags": [{"Key": "a"}]},
         ["Value null at 'tags.1.member.value' failed to satisfy constraint: Member must not be null"]),
        # All at once
        ("CreateEndpointInput", {},
         ["Value null at 'endpointName' failed to satisfy constraint: Member must not be null",
          "Value null at 'endpointConfigName' failed to satisfy constraint: Member must not be null"]),
    ],
)  # fmt: skip
def test_what_breaks_a_rule_is_a_validation_error_that_names_it(name: str, request_: Any, found: list[str]) -> None:
    error = refusal(name, request_)
    many = "errors" if len(found) > 1 else "error"
    assert (error.code, error.status) == ("ValidationException", 400)
    assert str(error) == f"{len(found)} validation {many} detected: {'; '.join(found)}"


def test_a_pattern_is_told_with_the_value() -> None:
    message = str(refusal("CreateEndpointInput", {"EndpointName": "a_b", "EndpointConfigName": "c"}))
    assert message.startswith("1 validation error detected: Value 'a_b' at 'endpointName' failed to satisfy constraint")
    assert "regular expression pattern: " in message


@pytest.mark.parametrize(
    "request_, words",
    [
        ([], "Expected a JSON object"),
        ("text", "Expected a JSON object"),
        (None, "Expected a JSON object"),
        ({"EndpointName": 5}, "endpointName must be a string, not 5"),
        # Of what cannot be read, nothing else is said.
        ({"EndpointName": ["e"]}, "endpointName must be a string, not a list"),
    ],
)
def test_what_is_of_another_type_cannot_be_serialized(request_: Any, words: str) -> None:
    error = refusal("CreateEndpointInput", request_)
    assert error.code == "SerializationException"
    assert words in str(error)


@pytest.mark.parametrize(
    "name, request_",
    [
        ("CreateEndpointInput", {"EndpointName": "e", "EndpointConfigName": "c"}),
        ("CreateEndpointInput", {"EndpointName": "e", "EndpointConfigName": "c", "Unheard": {"Of": 1}}),
        # Which SageMaker does not take: see emulator.services.sagemaker.image.
        ("CreateModelInput", {"ModelName": "m", "PrimaryContainer": {"Image": "command:sh -c 'a b'"}}),
    ],
)
def test_what_fits_passes_and_unknown_members_are_ignored(name: str, request_: dict[str, Any]) -> None:
    of = shape(name)
    assert isinstance(of, StructureShape)
    check(of, request_)
