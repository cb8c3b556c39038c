"""The control plane as its callers know it: what can be created, described, listed and tagged, and what is refused."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support.answering_containers import answering_containers
from tests.support.aws_clients import invalid
from tests.support.control_plane import (
    ARN,
    AWSS_IMAGES,
    ROLE,
    ControlPlane,
    RawClient,
    running_control_plane,
    variant_of,
)
from tests.support.files import archive, files_below
from tests.support.waiting import eventually

NUMBERS = itertools.count()


@pytest.fixture(scope="module", autouse=True)
def no_processes() -> Iterator[None]:
    with answering_containers():
        yield


@pytest.fixture(scope="module")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with running_control_plane(tmp_path_factory.mktemp("control-plane")) as control_plane:
        yield control_plane


@pytest.fixture(scope="module")
def standing(control_plane: ControlPlane) -> str:
    """The name of an endpoint that is there for all tests."""
    control_plane.create_endpoint("Standing")
    return "Standing"


@pytest.fixture
def name() -> str:
    """One that nothing has yet."""
    return f"n{next(NUMBERS)}"


# There already, not there


def test_an_arn_has_the_name_in_lower_case(control_plane: ControlPlane, standing: str) -> None:
    sagemaker = control_plane.sagemaker
    assert sagemaker.describe_model(ModelName=standing)["ModelArn"] == f"{ARN}:model/standing"
    config = sagemaker.describe_endpoint_config(EndpointConfigName=standing)
    assert config["EndpointConfigArn"] == f"{ARN}:endpoint-config/standing"
    assert sagemaker.describe_endpoint(EndpointName=standing)["EndpointArn"] == f"{ARN}:endpoint/standing"


@pytest.mark.parametrize("spelt", ["Standing", "STANDING", "standing"])
def test_what_is_there_already_is_not_created_again_whatever_the_case(
    control_plane: ControlPlane, standing: str, spelt: str
) -> None:
    sagemaker, container = control_plane.sagemaker, control_plane.container()
    refused = 'Cannot create already existing {} "' + ARN + ':{}/standing".'
    model = invalid(sagemaker.create_model, ModelName=spelt, ExecutionRoleArn=ROLE, PrimaryContainer=container)
    assert model == refused.format("model", "model")
    config = invalid(
        sagemaker.create_endpoint_config, EndpointConfigName=spelt, ProductionVariants=[variant_of(standing)]
    )
    assert config == refused.format("endpoint configuration", "endpoint-config")
    endpoint = invalid(sagemaker.create_endpoint, EndpointName=spelt, EndpointConfigName=standing)
    assert endpoint == refused.format("endpoint", "endpoint")


@pytest.mark.parametrize("spelt", ["STANDING", "standing"])
def test_what_is_there_is_found_whatever_the_case_and_keeps_its_own(
    control_plane: ControlPlane, standing: str, spelt: str
) -> None:
    sagemaker = control_plane.sagemaker
    assert sagemaker.describe_model(ModelName=spelt)["ModelName"] == standing
    assert sagemaker.describe_endpoint_config(EndpointConfigName=spelt)["EndpointConfigName"] == standing
    assert sagemaker.describe_endpoint(EndpointName=spelt)["EndpointName"] == standing


def test_an_endpoint_is_invoked_by_its_name_as_it_was_given(control_plane: ControlPlane, standing: str) -> None:
    assert control_plane.invoke(standing) == "I am a"
    with pytest.raises(ClientError, match="Endpoint standing of account 123456789012 not found"):
        control_plane.invoke("standing")


NOT_THERE = [
    ("describe_model", {"ModelName": "Nope"}, "model", "model"),
    ("delete_model", {"ModelName": "Nope"}, "model", "model"),
    ("describe_endpoint_config", {"EndpointConfigName": "Nope"}, "endpoint configuration", "endpoint-config"),
    ("delete_endpoint_config", {"EndpointConfigName": "Nope"}, "endpoint configuration", "endpoint-config"),
    (
        "create_endpoint_config",
        {"EndpointConfigName": "New", "ProductionVariants": [variant_of("Nope")]},
        "model",
        "model",
    ),
    ("describe_endpoint", {"EndpointName": "Nope"}, "endpoint", "endpoint"),
    ("delete_endpoint", {"EndpointName": "Nope"}, "endpoint", "endpoint"),
    ("update_endpoint", {"EndpointName": "Nope", "EndpointConfigName": "Standing"}, "endpoint", "endpoint"),
    (
        "update_endpoint_weights_and_capacities",
        {"EndpointName": "Nope", "DesiredWeightsAndCapacities": [{"VariantName": "V"}]},
        "endpoint",
        "endpoint",
    ),
    (
        "create_endpoint",
        {"EndpointName": "New", "EndpointConfigName": "Nope"},
        "endpoint configuration",
        "endpoint-config",
    ),
    (
        "update_endpoint",
        {"EndpointName": "Standing", "EndpointConfigName": "Nope"},
        "endpoint configuration",
        "endpoint-config",
    ),
]


@pytest.mark.parametrize("operation, asked, noun, kind", NOT_THERE, ids=lambda value: str(value)[:40])
def test_what_is_not_there_is_not_found(
    control_plane: ControlPlane, standing: str, operation: str, asked: dict[str, Any], noun: str, kind: str
) -> None:
    assert (
        invalid(getattr(control_plane.sagemaker, operation), **asked) == f'Could not find {noun} "{ARN}:{kind}/nope".'
    )


def test_the_waiter_for_a_deleted_endpoint_knows_the_words(control_plane: ControlPlane) -> None:
    control_plane.sagemaker.get_waiter("endpoint_deleted").wait(EndpointName="Nope", WaiterConfig={"MaxAttempts": 1})


def test_what_is_deleted_is_gone_and_its_name_is_free_again(control_plane: ControlPlane, name: str) -> None:
    for _ in range(2):
        control_plane.create_endpoint(name)
        assert control_plane.invoke(name) == "I am a"
        control_plane.delete_endpoint(name)
        with pytest.raises(ClientError, match=f"Endpoint {name} of account 123456789012 not found"):
            control_plane.invoke(name)
        for listed in (control_plane.sagemaker.list_models, control_plane.sagemaker.list_endpoint_configs):
            assert name not in json.dumps(listed(MaxResults=100), default=str)


def test_an_endpoint_goes_on_without_its_configuration_and_model(control_plane: ControlPlane, name: str) -> None:
    control_plane.create_endpoint(name)
    control_plane.sagemaker.delete_endpoint_config(EndpointConfigName=name)
    control_plane.sagemaker.delete_model(ModelName=name)
    assert control_plane.sagemaker.describe_endpoint(EndpointName=name)["EndpointConfigName"] == name
    assert control_plane.invoke(name) == "I am a"
    control_plane.sagemaker.update_endpoint_weights_and_capacities(
        EndpointName=name, DesiredWeightsAndCapacities=[{"VariantName": "V", "DesiredWeight": 3.5}]
    )
    assert control_plane.wait_in_service(name)["ProductionVariants"][0]["CurrentWeight"] == 3.5
    control_plane.sagemaker.delete_endpoint(EndpointName=name)


# Tags


def tags_of(control_plane: ControlPlane, arn: str) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in control_plane.sagemaker.list_tags(ResourceArn=arn)["Tags"]}


def as_tags(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


@pytest.fixture
def tagged(control_plane: ControlPlane, name: str) -> str:
    """The ARN of a model that was created with the tags a and b."""
    return control_plane.sagemaker.create_model(
        ModelName=name,
        ExecutionRoleArn=ROLE,
        PrimaryContainer=control_plane.container(),
        Tags=as_tags({"a": "1", "b": ""}),
    )["ModelArn"]


def test_what_is_created_has_its_tags(control_plane: ControlPlane, name: str) -> None:
    sagemaker, tags = control_plane.sagemaker, as_tags({"team": "blue é"})
    control_plane.create_model(name)
    config = sagemaker.create_endpoint_config(
        EndpointConfigName=name, ProductionVariants=[variant_of(name)], Tags=tags
    )["EndpointConfigArn"]
    endpoint = sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name, Tags=tags)["EndpointArn"]
    for arn in (config, endpoint):
        assert tags_of(control_plane, arn) == {"team": "blue é"}
    control_plane.wait_in_service(name)
    assert tags_of(control_plane, endpoint) == {"team": "blue é"}
    assert tags_of(control_plane, f"{ARN}:model/{name}") == {}
    control_plane.delete_endpoint(name)
    assert "Could not find" in invalid(sagemaker.list_tags, ResourceArn=config)


def test_tags_are_added_overwritten_and_deleted(control_plane: ControlPlane, tagged: str) -> None:
    sagemaker = control_plane.sagemaker
    answer = sagemaker.add_tags(ResourceArn=tagged, Tags=as_tags({"b": "2", "c": "3"}))
    assert answer["Tags"] == as_tags({"a": "1", "b": "2", "c": "3"})
    assert tags_of(control_plane, tagged) == {"a": "1", "b": "2", "c": "3"}
    sagemaker.delete_tags(ResourceArn=tagged, TagKeys=["a", "c", "never there"])
    assert tags_of(control_plane, tagged) == {"b": "2"}


def test_keys_of_tags_that_differ_in_case_are_two(control_plane: ControlPlane, tagged: str) -> None:
    control_plane.sagemaker.add_tags(ResourceArn=tagged, Tags=as_tags({"A": "big"}))
    assert tags_of(control_plane, tagged) == {"a": "1", "b": "", "A": "big"}


def test_a_resource_has_at_most_fifty_tags(control_plane: ControlPlane, tagged: str) -> None:
    many = as_tags({f"k{number}": "v" for number in range(48)})
    control_plane.sagemaker.add_tags(ResourceArn=tagged, Tags=many)
    assert len(tags_of(control_plane, tagged)) == 50
    more = invalid(control_plane.sagemaker.add_tags, ResourceArn=tagged, Tags=as_tags({"a": "2", "new": "3"}))
    assert "at most 50 tags" in more and "51" in more
    assert tags_of(control_plane, tagged)["a"] == "1"
    control_plane.sagemaker.add_tags(ResourceArn=tagged, Tags=as_tags({"a": "2"}))
    assert tags_of(control_plane, tagged)["a"] == "2"


def test_tags_are_listed_in_pages(control_plane: ControlPlane, tagged: str) -> None:
    paginator = control_plane.sagemaker.get_paginator("list_tags")
    pages = list(paginator.paginate(ResourceArn=tagged, MaxResults=50))
    assert [page["Tags"] for page in pages] == [as_tags({"a": "1", "b": ""})]
    assert control_plane.sagemaker.list_tags(ResourceArn=tagged, NextToken="1")["Tags"] == as_tags({"b": ""})


@pytest.mark.parametrize("token", ["x", "-1", "1.5", "²"])
def test_a_token_for_tags_that_is_none_is_refused(control_plane: ControlPlane, tagged: str, token: str) -> None:
    assert "NextToken" in invalid(control_plane.sagemaker.list_tags, ResourceArn=tagged, NextToken=token)


@pytest.mark.parametrize(
    "arn",
    [
        f"{ARN}:model/nope",
        f"{ARN}:training-job/x",
        f"{ARN}:x",
        "arn:aws:sagemaker:eu-west-1:123456789012:endpoint/standing",
        "arn:aws:sagemaker:us-east-1:210987654321:endpoint/standing",
        f"{ARN}:model/standing/standing",
    ],
)
def test_tags_of_what_is_not_there_are_refused(control_plane: ControlPlane, standing: str, arn: str) -> None:
    sagemaker = control_plane.sagemaker
    for call, asked in (
        (sagemaker.list_tags, {}),
        (sagemaker.add_tags, {"Tags": as_tags({"a": "1"})}),
        (sagemaker.delete_tags, {"TagKeys": ["a"]}),
    ):
        assert arn in invalid(call, ResourceArn=arn, **asked)


# Lists


@pytest.fixture(scope="module")
def listed(control_plane: ControlPlane) -> list[str]:
    """The names of models and of configurations, in the order of their creation."""
    names = ["list-c", "List-A", "list-b", "list-e", "list-d"]
    for name in names:
        control_plane.create_model(name)
        control_plane.create_config(name, name)
    return names


LISTS = [("list_models", "Models", "ModelName"), ("list_endpoint_configs", "EndpointConfigs", "EndpointConfigName")]


@pytest.mark.parametrize("operation, key, member", LISTS, ids=["models", "configs"])
@pytest.mark.parametrize("size", range(1, 7))
def test_the_paginators_find_everything_in_order(
    control_plane: ControlPlane, listed: list[str], operation: str, key: str, member: str, size: int
) -> None:
    def found(**asked: Any) -> list[str]:
        paginator = control_plane.sagemaker.get_paginator(operation)
        pages = list(paginator.paginate(NameContains="LIST-", MaxResults=size, **asked))
        assert all(len(page[key]) == size for page in pages[:-1])
        return [each[member] for page in pages for each in page[key]]

    by_name = sorted(listed, key=str.lower)
    assert found() == listed[::-1]
    assert found(SortOrder="Ascending") == listed
    assert found(SortBy="Name", SortOrder="Ascending") == by_name
    assert found(SortBy="Name", SortOrder="Descending") == by_name[::-1]
    everything = getattr(control_plane.sagemaker, operation)(NameContains="list-", MaxResults=100)[key]
    second, last = (next(each for each in everything if each[member] == name) for name in (listed[1], listed[-1]))
    since, until = second["CreationTime"], last["CreationTime"]
    assert found(CreationTimeAfter=since, CreationTimeBefore=until) == listed[1:-1][::-1]


def test_endpoints_are_listed_by_status_and_modification(control_plane: ControlPlane, standing: str) -> None:
    sagemaker = control_plane.sagemaker

    def found(**asked: Any) -> list[str]:
        pages = sagemaker.get_paginator("list_endpoints").paginate(NameContains="standing", **asked)
        return [each["EndpointName"] for page in pages for each in page["Endpoints"]]

    modified = sagemaker.describe_endpoint(EndpointName=standing)["LastModifiedTime"]
    created = sagemaker.describe_endpoint(EndpointName=standing)["CreationTime"]
    assert modified > created
    assert found(StatusEquals="InService") == found(SortBy="Status") == [standing]
    assert found(StatusEquals="Failed") == []
    assert found(LastModifiedTimeAfter=created) == found(CreationTimeBefore=modified) == [standing]
    assert found(LastModifiedTimeBefore=created) == found(CreationTimeAfter=modified) == []


@pytest.mark.parametrize("operation", ["list_models", "list_endpoint_configs", "list_endpoints"])
def test_a_token_that_is_none_is_refused(control_plane: ControlPlane, operation: str) -> None:
    assert "NextToken" in invalid(getattr(control_plane.sagemaker, operation), NextToken="garbage")


# Models


def described(control_plane: ControlPlane, **asked: Any) -> None:
    """Whether a model that was created so is described as it was asked for."""
    answer = control_plane.sagemaker.describe_model(ModelName=asked["ModelName"])
    for member in ("ResponseMetadata", "ModelArn", "CreationTime"):
        del answer[member]
    assert answer == {"EnableNetworkIsolation": False, **{k: v for k, v in asked.items() if k != "Tags"}}


def created(control_plane: ControlPlane, **asked: Any) -> None:
    asked = {"ExecutionRoleArn": ROLE, **asked}
    control_plane.sagemaker.create_model(**asked)
    described(control_plane, **asked)


def test_a_model_is_described_with_all_that_was_asked_for(control_plane: ControlPlane, name: str) -> None:
    container = control_plane.container(
        ContainerHostname="first",
        Environment={"A": "1", "B": " two\nlines é "},
        MultiModelConfig={"ModelCacheSetting": "Disabled"},
        ImageConfig={"RepositoryAccessMode": "Platform"},
    )
    created(
        control_plane,
        ModelName=name,
        PrimaryContainer=container,
        EnableNetworkIsolation=True,
        VpcConfig={"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1", "subnet-2"]},
        Tags=as_tags({"a": "b"}),
    )


def test_a_handler_runs_in_place_of_an_image_that_is_mapped(control_plane: ControlPlane, name: str) -> None:
    image = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"
    control_plane.create_endpoint(name, Image=image)
    described = control_plane.sagemaker.describe_model(ModelName=name)
    assert described["PrimaryContainer"]["Image"] == image
    said = f"Image {image}: handler:handler.py runs in its place, by the mapping of {AWSS_IMAGES}"
    assert control_plane.emulator.log.count(said) == 1


def test_a_pipeline_and_containers_that_are_named_are_described(control_plane: ControlPlane, name: str) -> None:
    one = control_plane.container(
        Mode="SingleModel", ModelDataUrl="s3://bucket/models/a.tar.gz", ContainerHostname="one"
    )
    two = control_plane.container(ContainerHostname="two")
    created(control_plane, ModelName=f"{name}-serial", Containers=[one, two])
    direct = {"InferenceExecutionConfig": {"Mode": "Direct"}}
    created(control_plane, ModelName=f"{name}-direct", Containers=[one, two], **direct)


def test_an_endpoint_configuration_is_described_with_all_that_was_asked_for(
    control_plane: ControlPlane, standing: str, name: str
) -> None:
    asked = {
        "EndpointConfigName": name,
        "ProductionVariants": [
            variant_of(standing, InitialVariantWeight=0.5, RoutingConfig={"RoutingStrategy": "RANDOM"}),
            variant_of(standing, VariantName="W", VolumeSizeInGB=10, ContainerStartupHealthCheckTimeoutInSeconds=60),
        ],
        "KmsKeyId": "key",
        "DataCaptureConfig": {
            "EnableCapture": False,
            "InitialSamplingPercentage": 10,
            "DestinationS3Uri": "s3://bucket/x",
            "CaptureOptions": [{"CaptureMode": "Input"}],
        },
    }
    control_plane.sagemaker.create_endpoint_config(**asked, Tags=as_tags({"a": "b"}))
    answer = control_plane.sagemaker.describe_endpoint_config(EndpointConfigName=name)
    for member in ("ResponseMetadata", "EndpointConfigArn", "CreationTime"):
        del answer[member]
    assert answer == {"EnableNetworkIsolation": False, **asked}


@pytest.mark.parametrize(
    "url",
    [
        "s3://bucket/models/",
        "s3://bucket/models",
        "https://s3-us-east-1.amazonaws.com/bucket/models/",
        "https://s3.us-east-1.amazonaws.com/bucket/models/",
        "https://s3.amazonaws.com/bucket/models",
        "https://bucket.s3.us-east-1.amazonaws.com/models/",
        "https://bucket.s3.amazonaws.com/models/",
    ],
)
def test_every_spelling_of_a_model_data_url_reaches_the_same_models(
    control_plane: ControlPlane, name: str, url: str
) -> None:
    control_plane.create_endpoint(name, ModelDataUrl=url)
    assert control_plane.sagemaker.describe_model(ModelName=name)["PrimaryContainer"]["ModelDataUrl"] == url
    if url.endswith("/"):
        assert control_plane.invoke(name) == "I am a"
    else:
        assert control_plane.invoke(name, "/a.tar.gz") == "I am a"
        with pytest.raises(ClientError, match="key: modelsa.tar.gz"):
            control_plane.invoke(name)
        assert "SageMaker puts nothing between the key of ModelDataUrl, models, and the" in control_plane.emulator.log
    control_plane.delete_endpoint(name)


def test_a_single_model_is_the_archive_that_its_url_names(control_plane: ControlPlane, name: str) -> None:
    unpacked = control_plane.s3 / "bucket" / "unpacked.tar.gz"
    unpacked.mkdir()
    (unpacked / "answer.txt").write_text("I am a")
    for url in (
        "s3://bucket/models/a.tar.gz",
        "https://s3-us-east-1.amazonaws.com/bucket/models/a.tar.gz",
        "s3://bucket/unpacked.tar.gz",
    ):
        control_plane.create_endpoint(name, ModelDataUrl=url, Mode="SingleModel")
        runtime = control_plane.emulator.client()
        assert runtime.invoke_endpoint(EndpointName=name, Body=b"?")["Body"].read() == b"I am a"
        control_plane.delete_endpoint(name)


def test_a_bucket_that_is_empty_now_may_have_models_later(control_plane: ControlPlane, name: str) -> None:
    (control_plane.s3 / "empty").mkdir(exist_ok=True)
    control_plane.create_endpoint(name, ModelDataUrl="s3://empty/later/")
    archive(control_plane.s3 / "empty" / "later" / "b.tar.gz", {"answer.txt": "I came later"})
    assert control_plane.invoke(name, "b.tar.gz") == "I came later"
    control_plane.delete_endpoint(name)


@pytest.mark.parametrize(
    "mode, url",
    [
        ("MultiModel", "s3://nope/models/"),
        ("MultiModel", "https://s3-us-east-1.amazonaws.com/nope/models/"),
        ("MultiModel", "s3://bucket/../bucket/models/"),
        ("MultiModel", "s3://bucket/models/.."),
        ("MultiModel", "s3://bucket//models/"),
        ("MultiModel", "s3://bucket/./models/"),
        ("MultiModel", "https://s3-us-east-1.amazonaws.com/bucket/%2e%2e/models/"),
        ("MultiModel", "s3://bucket/mo\0dels/"),
        ("SingleModel", "s3://bucket/models/"),
        ("SingleModel", "s3://bucket/models/nope.tar.gz"),
        ("SingleModel", "s3://bucket/../bucket/models/a.tar.gz"),
        ("SingleModel", "s3://bucket"),
    ],
)
def test_model_data_that_is_not_there_is_not_found(control_plane: ControlPlane, name: str, mode: str, url: str) -> None:
    asked = {"ModelName": name, "ExecutionRoleArn": ROLE}
    container = control_plane.container(Mode=mode, ModelDataUrl=url)
    message = invalid(control_plane.sagemaker.create_model, **asked, PrimaryContainer=container)
    assert message == f"PrimaryContainer.ModelDataUrl Could not find model data at {url}."
    assert "Could not find model" in invalid(control_plane.sagemaker.describe_model, ModelName=name)


def test_an_archive_is_no_model_data_of_a_multi_model_container(control_plane: ControlPlane, name: str) -> None:
    container = control_plane.container(Mode="MultiModel", ModelDataUrl="s3://bucket/models/a.tar.gz")
    message = invalid(
        control_plane.sagemaker.create_model, ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=container
    )
    assert message.startswith("PrimaryContainer.ModelDataUrl names an object, s3://bucket/models/a.tar.gz. With Mode ")
    assert "such as s3://bucket/models/; TargetModel then names the archive." in message


@pytest.mark.parametrize("mode", ["MultiModel", "SingleModel"])
def test_model_data_of_a_name_that_no_file_can_have_is_refused(
    control_plane: ControlPlane, name: str, mode: str
) -> None:
    container = control_plane.container(Mode=mode, ModelDataUrl=f"s3://bucket/{'x' * 900}")
    message = invalid(
        control_plane.sagemaker.create_model, ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=container
    )
    assert message == "PrimaryContainer.ModelDataUrl cannot be looked for: File name too long"


@pytest.mark.parametrize(
    "url, words",
    [
        ("https://example.com/models/", "write s3://BUCKET/PREFIX"),
        ("https://s3.amazonaws.com/bucket/models/?a=b", "write s3://BUCKET/PREFIX"),
        ("s3://../s3/bucket/models/", "'..' is not the name of a bucket"),
        ("s3://./bucket/models/", "'.' is not the name of a bucket"),
        ("https://s3.amazonaws.com/../s3/bucket/models/", "'..' is not the name of a bucket"),
    ],
)
def test_what_is_no_url_of_s3_is_refused(control_plane: ControlPlane, name: str, url: str, words: str) -> None:
    asked = {"ModelName": name, "ExecutionRoleArn": ROLE, "PrimaryContainer": control_plane.container(ModelDataUrl=url)}
    assert words in invalid(control_plane.sagemaker.create_model, **asked)


def data_source(uri: str, data_type: str, compression: str) -> dict[str, Any]:
    return {"S3DataSource": {"S3Uri": uri, "S3DataType": data_type, "CompressionType": compression}}


@pytest.mark.parametrize(
    "uri, data_type, compression, found",
    [
        ("s3://bucket/data/", "S3Prefix", "None", [".hidden", "answer.txt", "deep/weights"]),
        ("s3://bucket/data/answer.txt", "S3Object", "None", ["answer.txt"]),
        ("s3://bucket/models/a.tar.gz", "S3Object", "Gzip", ["answer.txt"]),
    ],
)
def test_the_data_of_one_model_may_be_objects_as_they_are(
    control_plane: ControlPlane, name: str, uri: str, data_type: str, compression: str, found: list[str]
) -> None:
    data = control_plane.s3 / "bucket" / "data"
    (data / "deep").mkdir(parents=True, exist_ok=True)
    for path in (".hidden", "answer.txt", "deep/weights"):
        (data / path).write_text("I am a")
    source = data_source(uri, data_type, compression)
    container = {"Image": "handler:handler.py", "ModelDataSource": source}
    control_plane.sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=container)
    assert control_plane.sagemaker.describe_model(ModelName=name)["PrimaryContainer"]["ModelDataSource"] == source
    control_plane.create_config(name, name)
    control_plane.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    control_plane.wait_in_service(name)
    runtime = control_plane.emulator.client()
    assert runtime.invoke_endpoint(EndpointName=name, Body=b"?")["Body"].read() == b"I am a"
    disk = next((control_plane.directory / "state" / "instances").glob(f"*/{name}"))
    files = [path for path in files_below(disk) if "model" in path.parts]
    assert sorted(str(path).rpartition("/model/")[2] for path in files) == found
    control_plane.delete_endpoint(name)


CONTAINER = {"Image": "handler:handler.py", "Mode": "MultiModel", "ModelDataUrl": "s3://bucket/models/"}
IMPOSSIBLE_MODELS = {
    "both": ({"PrimaryContainer": CONTAINER, "Containers": [CONTAINER]}, "PrimaryContainer or Containers, not both"),
    "neither": ({}, "needs PrimaryContainer or Containers"),
    "no container": ({"Containers": []}, "1 to 15 containers"),
    "no image": ({"PrimaryContainer": {"ModelDataUrl": "s3://bucket/models/"}}, "PrimaryContainer.Image is missing"),
    "no model data": (
        {"PrimaryContainer": {**CONTAINER, "ModelDataUrl": None}},
        "PrimaryContainer.ModelDataUrl is missing: Mode MultiModel needs a directory",
    ),
    "caching of a single model": (
        {
            "PrimaryContainer": {
                "Image": "handler:handler.py",
                "ModelDataUrl": "s3://bucket/models/a.tar.gz",
                "MultiModelConfig": {"ModelCacheSetting": "Disabled"},
            }
        },
        "PrimaryContainer.MultiModelConfig needs Mode: MultiModel",
    ),
    "two multi-model": ({"Containers": [CONTAINER, CONTAINER]}, "At most one container of a model"),
    "direct without names": (
        {
            "Containers": [
                CONTAINER,
                {**CONTAINER, "Mode": "SingleModel", "ModelDataUrl": "s3://bucket/models/a.tar.gz"},
            ],
            "InferenceExecutionConfig": {"Mode": "Direct"},
        },
        "In Mode Direct every container needs a ContainerHostname",
    ),
    "no such handler": (
        {"PrimaryContainer": {**CONTAINER, "Image": "handler:nope.py"}},
        "PrimaryContainer.Image There is no handler file",
    ),
    "no such program": (
        {"PrimaryContainer": {**CONTAINER, "Image": "command:./nope --port 1"}},
        "PrimaryContainer.Image There is no program",
    ),
    "no image's name": ({"PrimaryContainer": {**CONTAINER, "Image": "two words"}}, "PrimaryContainer.Image takes"),
    "a null in a file's name": (
        {"PrimaryContainer": {**CONTAINER, "Image": "handler:\0"}},
        "PrimaryContainer.Image There is no handler file",
    ),
    "a model package": (
        {"PrimaryContainer": {"ModelPackageName": "package"}},
        "PrimaryContainer.ModelPackageName is not emulated by localmme: there are no model packages here",
    ),
    "a model data source": (
        {
            "Containers": [
                CONTAINER,
                {
                    "Image": "handler:handler.py",
                    "ModelDataSource": data_source("s3://bucket/models/", "S3Prefix", "Gzip"),
                },
            ]
        },
        "Containers[1].ModelDataSource.S3DataSource.S3Uri is a prefix, whose objects cannot be an archive",
    ),
    "a prefix without a slash": (
        {
            "PrimaryContainer": {
                "Image": "any",
                "ModelDataSource": data_source("s3://bucket/models", "S3Prefix", "None"),
            }
        },
        "PrimaryContainer.ModelDataSource.S3DataSource.S3Uri must end with a slash",
    ),
    "a model data source of many models": (
        {
            "PrimaryContainer": {
                "Image": "any",
                "Mode": "MultiModel",
                "ModelDataSource": data_source("s3://bucket/models/", "S3Prefix", "None"),
            }
        },
        "PrimaryContainer.ModelDataSource cannot be used with Mode MultiModel: give the archives' prefix",
    ),
    "two places of model data": (
        {
            "PrimaryContainer": {
                "Image": "any",
                "ModelDataUrl": "s3://bucket/models/a.tar.gz",
                "ModelDataSource": data_source("s3://bucket/models/a.tar.gz", "S3Object", "Gzip"),
            }
        },
        "PrimaryContainer.ModelDataSource and ModelDataUrl exclude each other",
    ),
    "too much environment": (
        {"PrimaryContainer": {**CONTAINER, "Environment": {f"A{n}": "é" * 1000 for n in range(20)}}},
        "has more than 32768 bytes of Environment",
    ),
}


@pytest.mark.parametrize("case", IMPOSSIBLE_MODELS)
def test_an_impossible_model_is_refused_with_what_is_wrong(control_plane: ControlPlane, name: str, case: str) -> None:
    members, words = IMPOSSIBLE_MODELS[case]
    client = RawClient(control_plane.emulator.url)  # which leaves it to the emulator to see what is wrong
    status, answer = client.call("CreateModel", {"ModelName": name, "ExecutionRoleArn": ROLE, **members})
    client.close()
    assert (status, answer["__type"]) == (400, "ValidationException")
    assert words in answer["message"]
    assert "Could not find model" in invalid(control_plane.sagemaker.describe_model, ModelName=name)


def test_the_cache_setting_is_that_of_the_model(control_plane: ControlPlane, name: str) -> None:
    control_plane.create_endpoint(name, MultiModelConfig={"ModelCacheSetting": "Disabled"})
    assert control_plane.invoke(name) == "I am a"

    def in_memory() -> list[bool]:
        mine = next(each for each in control_plane.emulator.states() if each["endpoint_name"] == name)
        return [model["in_memory"] for model in mine["models"]]

    eventually(lambda: in_memory() == [False], what="the model is unloaded")
    control_plane.delete_endpoint(name)


def test_containers_that_are_named_are_called_by_their_names(control_plane: ControlPlane, name: str) -> None:
    archive(control_plane.s3 / "bucket" / "single.tar.gz", {"answer.txt": "I am single"})
    single = control_plane.container(
        Mode="SingleModel", ModelDataUrl="s3://bucket/single.tar.gz", ContainerHostname="one"
    )
    control_plane.sagemaker.create_model(
        ModelName=name,
        ExecutionRoleArn=ROLE,
        Containers=[single, control_plane.container(ContainerHostname="two")],
        InferenceExecutionConfig={"Mode": "Direct"},
    )
    control_plane.create_config(name, name)
    control_plane.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    control_plane.wait_in_service(name)
    runtime = control_plane.emulator.client()
    answer = runtime.invoke_endpoint(EndpointName=name, TargetContainerHostname="one", Body=b"?")["Body"].read()
    assert answer == b"I am single"
    assert control_plane.invoke(name, TargetContainerHostname="two") == "I am a"
    control_plane.delete_endpoint(name)


# Endpoint configurations

NO_MULTI_MODEL: dict[str, dict[str, Any]] = {
    "AsyncInferenceConfig": {"AsyncInferenceConfig": {"OutputConfig": {"S3OutputPath": "s3://bucket/out"}}},
    "ShadowProductionVariants": {"ShadowProductionVariants": [variant_of("Standing", VariantName="S")]},
    "ServerlessConfig": {
        "ProductionVariants": [
            {
                "VariantName": "V",
                "ModelName": "Standing",
                "ServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": 1},
            }
        ]
    },
    "AcceleratorType": {"ProductionVariants": [variant_of("Standing", AcceleratorType="ml.eia1.medium")]},
}


@pytest.mark.parametrize("member", NO_MULTI_MODEL)
def test_a_multi_model_endpoint_cannot_be_of_another_kind(
    control_plane: ControlPlane, standing: str, name: str, member: str
) -> None:
    asked = {"EndpointConfigName": name, "ProductionVariants": [variant_of(standing)], **NO_MULTI_MODEL[member]}
    message = invalid(control_plane.sagemaker.create_endpoint_config, **asked)
    assert message == f"MultiModel mode is not supported when specifying {member}."


def test_a_pipeline_cannot_be_serverless(control_plane: ControlPlane, name: str) -> None:
    single = control_plane.container(Mode="SingleModel", ModelDataUrl="s3://bucket/models/a.tar.gz")
    control_plane.sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE, Containers=[single, single])
    variant = {"VariantName": "V", "ModelName": name, "ServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": 1}}
    message = invalid(
        control_plane.sagemaker.create_endpoint_config, EndpointConfigName=name, ProductionVariants=[variant]
    )
    assert message == "Models with multiple containers are not supported when specifying ServerlessConfig."


@pytest.mark.parametrize(
    "variant, words",
    [
        (
            {"ServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": 1}},
            "ProductionVariants[0].ServerlessConfig is not emulated by localmme: give InstanceType",
        ),
        (
            {"ManagedInstanceScaling": {"Status": "ENABLED", "MaxInstanceCount": 2}},
            "ProductionVariants[0].ManagedInstanceScaling is not emulated by localmme: InitialInstanceCount instances",
        ),
        (
            {"RoutingConfig": {"RoutingStrategy": "PREFIX_AWARE"}},
            "ProductionVariants[0].RoutingConfig.RoutingStrategy must be RANDOM or LEAST_OUTSTANDING_REQUESTS",
        ),
        ({"ModelName": None}, "ProductionVariants[0].ModelName is missing: variants for inference components"),
    ],
    ids=["serverless", "scaling", "routing", "no model"],
)
def test_a_variant_that_is_not_emulated_is_refused_with_what_to_do(
    control_plane: ControlPlane, name: str, variant: dict[str, Any], words: str
) -> None:
    control_plane.create_model(name, Mode="SingleModel", ModelDataUrl="s3://bucket/models/a.tar.gz")
    asked = {key: value for key, value in variant_of(name, **variant).items() if value is not None}
    message = invalid(
        control_plane.sagemaker.create_endpoint_config, EndpointConfigName=name, ProductionVariants=[asked]
    )
    assert words in message


def test_two_variants_of_one_name_are_refused(control_plane: ControlPlane, standing: str, name: str) -> None:
    variants = [variant_of(standing), variant_of(standing)]
    message = invalid(
        control_plane.sagemaker.create_endpoint_config, EndpointConfigName=name, ProductionVariants=variants
    )
    assert message == 'The variant name "V" was non-unique within the request.'


# Endpoints


def test_a_variant_that_the_endpoint_has_not_cannot_be_changed(control_plane: ControlPlane, standing: str) -> None:
    def refused(*names: str) -> str:
        return invalid(
            control_plane.sagemaker.update_endpoint_weights_and_capacities,
            EndpointName=standing,
            DesiredWeightsAndCapacities=[{"VariantName": name, "DesiredWeight": 1.0} for name in names],
        )

    assert refused("V", "X", "Y") == (
        'The variant name(s) "X", "Y" is/are not present within endpoint configuration "Standing".'
    )
    assert refused("V", "V") == 'The variant name "V" was non-unique within the request.'


@pytest.mark.parametrize(
    "change, words",
    [
        ({"DesiredInstanceCount": 0}, 'The variant "V" needs at least one instance'),
        ({"ServerlessUpdateConfig": {"MaxConcurrency": 1}}, "ServerlessUpdateConfig is not emulated by localmme"),
        ({"DesiredWeight": 1e39}, "'1e+39' at 'desiredWeightsAndCapacities.1.member.desiredWeight' failed"),
    ],
    ids=["no instance", "serverless", "no float of 32 bits"],
)
def test_a_change_that_cannot_be_is_refused_and_changes_nothing(
    control_plane: ControlPlane, standing: str, change: dict[str, Any], words: str
) -> None:
    before = control_plane.sagemaker.describe_endpoint(EndpointName=standing)
    message = invalid(
        control_plane.sagemaker.update_endpoint_weights_and_capacities,
        EndpointName=standing,
        DesiredWeightsAndCapacities=[{"VariantName": "V", **change}],
    )
    assert words in message
    after = control_plane.sagemaker.describe_endpoint(EndpointName=standing)
    assert {**after, "ResponseMetadata": None} == {**before, "ResponseMetadata": None}
    assert control_plane.invoke(standing) == "I am a"


def test_what_was_created_is_there_after_a_restart(tmp_path: Path) -> None:
    control_plane = ControlPlane(tmp_path)
    try:
        arn = control_plane.create_endpoint("Lasting")
        control_plane.sagemaker.add_tags(ResourceArn=arn, Tags=as_tags({"a": "b"}))
        before = control_plane.sagemaker.describe_endpoint(EndpointName="Lasting")
        assert control_plane.emulator.stop() == 0
        control_plane.start()
        eventually(control_plane.endpoints, what="the endpoint is there")
        after = control_plane.wait_in_service("Lasting")
        assert after["CreationTime"] == before["CreationTime"]
        assert after["ProductionVariants"] == before["ProductionVariants"]
        assert tags_of(control_plane, arn) == {"a": "b"}
        assert control_plane.invoke("Lasting") == "I am a"
    finally:
        control_plane.emulator.stop()


def test_there_is_a_quota_of_instances(control_plane: ControlPlane, standing: str, name: str) -> None:
    sagemaker = control_plane.sagemaker
    control_plane.create_config(name, standing, InitialInstanceCount=2**31 - 1)
    with pytest.raises(ClientError, match=r"utilization of \d+ Instances and a request delta of 2147483647") as caught:
        sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    assert caught.value.response["Error"]["Code"] == "ResourceLimitExceeded"
    with pytest.raises(ClientError, match="is 20 Instances"):
        sagemaker.update_endpoint(EndpointName=standing, EndpointConfigName=name)
    with pytest.raises(ClientError, match="a request delta of 21 Instances"):
        sagemaker.update_endpoint_weights_and_capacities(
            EndpointName=standing,
            DesiredWeightsAndCapacities=[{"VariantName": "V", "DesiredInstanceCount": 21}],
        )
    assert sagemaker.describe_endpoint(EndpointName=standing)["EndpointStatus"] == "InService"
    assert len(control_plane.emulator.states()[0]["variants"][0]["instances"]) == 1
