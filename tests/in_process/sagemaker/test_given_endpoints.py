"""The endpoints that ``serve`` is started with, as the control plane tells of them; and starting without any."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from emulator.aws.service_models import problems, shape
from emulator.errors import SetupError
from localmme.server_setup import default_s3
from tests.support.aws_clients import invalid
from tests.support.command_line import localmme, working_directory
from tests.support.control_plane import ARN, HANDLER, ControlPlane, RawClient
from tests.support.emulator_in_process import InProcessEmulator
from tests.support.files import archive
from tests.support.waiting import eventually

Start = Callable[..., InProcessEmulator]


class Given:
    """``serve --models``, started again and again with the same directories."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        archive(directory / "s3" / "bucket" / "a.tar.gz", {"answer.txt": "I am a"})
        (directory / "handler.py").write_text(HANDLER)
        self.start()

    def start(self) -> None:
        s3, handler = self.directory / "s3", self.directory / "handler.py"
        arguments = ("--models", f"{s3}/bucket", "--s3", str(s3), "--handler", str(handler))
        self.emulator = InProcessEmulator(*arguments, state=self.directory / "state").wait_in_service()
        self.sagemaker = self.emulator.client_of("sagemaker")

    def restart(self) -> None:
        assert self.emulator.stop() == 0
        self.start()


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Given]:
    """For tests that leave it as it is."""
    given = Given(tmp_path_factory.mktemp("unchanged"))
    yield given
    assert given.emulator.stop() == 0


@pytest.fixture
def given(tmp_path: Path) -> Iterator[Given]:
    given = Given(tmp_path)
    yield given
    assert given.emulator.stop() == 0


def test_an_endpoint_of_options_is_described_with_its_configuration_and_model(unchanged: Given) -> None:
    sagemaker = unchanged.sagemaker
    endpoint = sagemaker.describe_endpoint(EndpointName="local")
    assert (endpoint["EndpointArn"], endpoint["EndpointStatus"]) == (f"{ARN}:endpoint/local", "InService")
    (summary,) = endpoint["ProductionVariants"]
    assert (summary["VariantName"], summary["CurrentInstanceCount"], summary["CurrentWeight"]) == ("AllTraffic", 1, 1.0)
    config = sagemaker.describe_endpoint_config(EndpointConfigName=endpoint["EndpointConfigName"])
    (of_config,) = config["ProductionVariants"]
    model = sagemaker.describe_model(ModelName=of_config["ModelName"])
    assert model["PrimaryContainer"] == {
        "Image": f"handler:{unchanged.directory}/handler.py",
        "Mode": "MultiModel",
        "ModelDataUrl": "s3://bucket/",
        "MultiModelConfig": {"ModelCacheSetting": "Enabled"},
    }


def test_what_is_given_is_of_the_shapes_that_the_api_says(unchanged: Given) -> None:
    client = RawClient(unchanged.emulator.url)
    for kind in ("Model", "EndpointConfig", "Endpoint"):
        status, answer = client.call(f"Describe{kind}", {f"{kind}Name": "local"})
        assert status == 200
        assert list(problems(shape(f"Describe{kind}Output"), answer)) == []
    client.close()


def test_an_endpoint_of_options_is_listed(unchanged: Given) -> None:
    sagemaker = unchanged.sagemaker
    assert [each["EndpointName"] for each in sagemaker.list_endpoints()["Endpoints"]] == ["local"]
    assert [each["EndpointConfigName"] for each in sagemaker.list_endpoint_configs()["EndpointConfigs"]] == ["local"]
    assert [each["ModelName"] for each in sagemaker.list_models()["Models"]] == ["local"]


def test_another_endpoint_can_be_made_of_a_given_model(given: Given) -> None:
    sagemaker = given.sagemaker
    one = {"VariantName": "V", "ModelName": "local", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    sagemaker.create_endpoint_config(EndpointConfigName="another", ProductionVariants=[one])
    sagemaker.create_endpoint(EndpointName="another", EndpointConfigName="another")
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName="another", WaiterConfig={"Delay": 1})
    answer = given.emulator.client().invoke_endpoint(EndpointName="another", TargetModel="a.tar.gz", Body=b"?")
    assert answer["Body"].read() == b"I am a"


def test_a_given_endpoint_can_be_changed_tagged_and_deleted_and_is_as_given_after_a_restart(given: Given) -> None:
    def counts_and_weights() -> list[tuple[int, float]]:
        described = given.sagemaker.describe_endpoint(EndpointName="local")
        if described["EndpointStatus"] != "InService":
            return []
        found = described["ProductionVariants"]
        return [(variant["CurrentInstanceCount"], variant["CurrentWeight"]) for variant in found]

    def tags() -> list[dict[str, str]]:
        return given.sagemaker.list_tags(ResourceArn=f"{ARN}:endpoint/local")["Tags"]

    given.sagemaker.add_tags(ResourceArn=f"{ARN}:endpoint/local", Tags=[{"Key": "a", "Value": "b"}])
    given.sagemaker.update_endpoint_weights_and_capacities(
        EndpointName="local",
        DesiredWeightsAndCapacities=[{"VariantName": "AllTraffic", "DesiredInstanceCount": 2, "DesiredWeight": 3.0}],
    )
    assert eventually(counts_and_weights, what="InService") == [(2, 3.0)]
    assert given.emulator.invoke("a.tar.gz") == b"I am a"
    assert tags() == [{"Key": "a", "Value": "b"}]

    given.restart()
    assert counts_and_weights() == [(1, 1.0)]
    assert tags() == []

    given.sagemaker.delete_endpoint(EndpointName="local")
    given.sagemaker.delete_endpoint_config(EndpointConfigName="local")
    given.sagemaker.delete_model(ModelName="local")
    eventually(lambda: not given.sagemaker.list_endpoints()["Endpoints"], what="the endpoint is gone")
    with pytest.raises(ClientError, match="Endpoint local of account 123456789012 not found"):
        given.emulator.invoke("a.tar.gz")
    assert "Could not find model" in invalid(given.sagemaker.describe_model, ModelName="local")

    given.restart()
    assert counts_and_weights() == [(1, 1.0)]
    assert given.emulator.invoke("a.tar.gz") == b"I am a"


def test_a_name_that_was_created_through_the_api_cannot_be_given(start: Start, tmp_path: Path) -> None:
    control_plane = ControlPlane(tmp_path)
    try:
        control_plane.create_endpoint("local")
    finally:
        assert control_plane.emulator.stop() == 0
    # The later --state-dir counts.
    state = str(tmp_path / "state")
    same = ("--models", str(tmp_path / "s3" / "bucket"), "--state-dir", state)
    emulator = start(*same)
    assert emulator.wait() == 3
    assert emulator.errors == [
        f"Error: An endpoint local was created through the API, and {state} keeps it. Take another --endpoint-name, "
        "or delete that endpoint first: start with --no-endpoint for it."
    ]
    sagemaker = start(*same, "--endpoint-name", "other").wait_in_service().client_of("sagemaker")

    def found() -> set[str]:
        return {each["EndpointName"] for each in sagemaker.list_endpoints()["Endpoints"]}

    eventually(lambda: found() == {"local", "other"}, what="both endpoints are there")


def test_a_model_that_was_created_through_the_api_outlives_a_given_one_of_its_name(
    start: Start, tmp_path: Path
) -> None:
    control_plane = ControlPlane(tmp_path)
    try:
        control_plane.create_model("local", Environment={"MINE": "1"})
        assert control_plane.emulator.stop() == 0
        same = ("--models", str(tmp_path / "s3" / "bucket"), "--state-dir", str(tmp_path / "state"))
        given = start(*same).wait_in_service()
        sagemaker = given.client_of("sagemaker")
        assert "MINE" not in sagemaker.describe_model(ModelName="local")["PrimaryContainer"].get("Environment", {})
        sagemaker.delete_model(ModelName="local")
        assert given.stop() == 0
        control_plane.start()
        model = control_plane.sagemaker.describe_model(ModelName="local")
        assert model["PrimaryContainer"]["Environment"] == {"MINE": "1"}
    finally:
        control_plane.emulator.stop()


@pytest.mark.parametrize("option", [("--models", "."), ("--memory", "1GiB"), ("--endpoint-name", "x"), ("--no-cache",)])
def test_options_of_an_endpoint_do_not_go_without_one(option: tuple[str, ...]) -> None:
    result = localmme("serve", "--no-endpoint", *option)
    assert result.returncode == 1
    assert result.stderr == f"Error: --no-endpoint starts no endpoint: {option[0]} cannot be used with it.\n"


def test_a_file_does_not_go_with_no_endpoint(tmp_path: Path) -> None:
    result = localmme("serve", str(tmp_path / "endpoint.yaml"), "--no-endpoint")
    assert result.returncode == 1
    assert result.stderr.endswith("endpoint.yaml describes the endpoints: --no-endpoint cannot be used with it.\n")


def test_without_an_endpoint_and_without_s3_the_buckets_are_in_a_directory_that_is_made(tmp_path: Path) -> None:
    emulator = InProcessEmulator("--no-endpoint", state=tmp_path / "state", directory=tmp_path).wait_ready()
    try:
        assert (tmp_path / "s3").is_dir()
        emulator.client_of("s3").create_bucket(Bucket="bucket")
        assert (tmp_path / "s3" / "bucket").is_dir()
        assert emulator.client_of("sagemaker").list_endpoints()["Endpoints"] == []
    finally:
        assert emulator.stop() == 0


def test_where_no_directory_can_be_made_one_has_to_be_named(tmp_path: Path) -> None:
    (tmp_path / "s3").write_text("a file")
    with working_directory(tmp_path), pytest.raises(SetupError) as error:
        default_s3()
    assert str(error.value) == "The directory ./s3 cannot be made: File exists. Name one with --s3."
