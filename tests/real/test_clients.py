"""The clients that people really use, as they are: nothing but their environment says where AWS is."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import awscli.clidriver
import boto3
import nbformat
import pytest
from botocore.exceptions import BotoCoreError, ClientError, WaiterError
from nbclient import NotebookClient

from emulator.aws.arn import ACCOUNT_ID
from tests.support.docker_fixtures import tagged
from tests.support.emulator_process import Emulator
from tests.support.files import archive
from tests.support.real_clients import javascript, sdks
from tests.support.real_clients.outside import Outside
from tests.support.real_servers.images import Images
from tests.support.real_servers.making import NotProvisioned
from tests.support.real_servers.virtual_environment import VirtualEnvironment
from tests.support.repository import REPOSITORY
from tests.support.scripted_models import SCRIPTED_CONTAINER
from tests.support.waiting import eventually

HANDLER = REPOSITORY / "samples" / "containers" / "multi_model_server" / "model_handler.py"
IMAGE = f"handler:{HANDLER}"
NOTEBOOK = REPOSITORY / "samples" / "notebooks" / "multi_model_endpoint.ipynb"
ROLE = f"arn:aws:iam::{ACCOUNT_ID}:role/SageMakerExecutionRole"
CITIES = ["braga", "faro", "lisbon", "porto"]
ROWS = json.dumps({"features": [[1, 1], [0, -2]]})
PREDICTIONS = {city: [number + 101.0, 98.0] for number, city in enumerate(CITIES)}


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """One that has nothing yet but an empty S3."""
    directory = tmp_path_factory.mktemp("emulator")
    (directory / "s3").mkdir()
    emulator = Emulator("--no-endpoint", "--s3", str(directory / "s3"), state=directory / "state")
    try:
        yield emulator.wait_ready()
    finally:
        emulator.stop()


@pytest.fixture(scope="module")
def outside() -> Iterator[Outside]:
    outside = Outside()
    yield outside
    outside.stop()


@pytest.fixture(scope="module")
def exported(emulator: Emulator, outside: Outside, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of somebody who had nothing of AWS in it, after ``eval "$(localmme env)"``."""
    home = {"HOME": str(tmp_path_factory.mktemp("home")), "IMAGE": IMAGE, "ROLE": ROLE, **outside.environment}
    known = ("AWS_", "SAGEMAKER_", "NO_PROXY", "no_proxy")
    cleared = {name: value for name, value in os.environ.items() if not name.startswith(known)}
    script = f"""
        eval "$({sys.executable} -m localmme env --url {emulator.url})"
        {sys.executable} -c 'import json, os; print(json.dumps(dict(os.environ)))'
    """
    shell = ["bash", "-ec", script]
    ended = subprocess.run(shell, cwd=REPOSITORY, check=True, stdout=subprocess.PIPE, env={**cleared, **home})
    return json.loads(ended.stdout)


@pytest.fixture
def environment(exported: dict[str, str], outside: Outside, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The same, with a home of its own. Nobody may ask the outside."""
    yield {**exported, "HOME": str(tmp_path)}
    assert outside.asked == []


@pytest.fixture
def session(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> boto3.session.Session:
    """A session of boto3 in that environment."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return boto3.session.Session()


@pytest.fixture
def archives(tmp_path: Path) -> Path:
    """A directory with an archive for each city."""
    for number, city in enumerate(CITIES):
        model = {"weights": [number, 1], "bias": 100}
        archive(tmp_path / "archives" / f"{city}.tar.gz", {"model.json": json.dumps(model)})
    return tmp_path / "archives"


@pytest.mark.docker
def test_the_notebook_runs_as_it_is(environment: dict[str, str], images: Images) -> None:
    """Its image's name is one of ECR, its place the Docker Engine of this machine."""
    tag = f"{ACCOUNT_ID}.dkr.ecr.us-east-1.amazonaws.com/plain:localmme-test"
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    with tagged(images.engine, {tag: images.plain()}):
        NotebookClient(notebook, timeout=200).execute(env={**environment, "IMAGE": tag})
    printed = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", ()))
    assert "InService after" in printed
    assert printed.count("cold") == 10
    assert "key: models/cities/atlantis.tar.gz" in printed
    assert "10 found it in memory" in printed
    assert "deleted 11 models, and all that served them" in printed


def test_the_notebook_is_committed_without_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code and all(cell.outputs == [] and cell.execution_count is None for cell in code)


def run_sdk(sdk: VirtualEnvironment, script: str, archives: Path, environment: dict[str, str]) -> Any:
    """What a script saw; skips where the SDK is not installed."""
    try:
        return sdks.run(sdk, script, IMAGE, str(archives), environment=environment)
    except NotProvisioned as reason:
        pytest.skip(str(reason))


@pytest.mark.real
def test_sagemaker_sdk_2_deploys_lists_adds_predicts_deletes_transforms_and_trains(
    archives: Path, environment: dict[str, str]
) -> None:
    saw = run_sdk(sdks.sdk_2(), "sdk_2.py", archives, environment)
    assert saw["bucket"] == f"sagemaker-us-east-1-{ACCOUNT_ID}"
    assert saw["role"].startswith(f"arn:aws:iam::{ACCOUNT_ID}:role/")
    assert saw["status"] == "InService"
    assert saw["listed"] == ["braga.tar.gz", "cities/faro.tar.gz", "cities/lisbon.tar.gz"]
    assert saw["predictions"] == dict(zip(saw["listed"], PREDICTIONS.values()))
    assert saw["added"] == f"s3://{saw['bucket']}/{saw['name']}/later/porto.tar.gz"
    assert saw["listed with added"] == [*saw["listed"], "later/porto.tar.gz"]
    assert saw["prediction of added"] == PREDICTIONS["porto"]
    assert f"(bucket: {saw['bucket']}, key: {saw['name']}/atlantis.tar.gz)" in saw["error"]
    assert saw["without its bucket"] == "NoSuchBucket"
    assert saw["uploaded for a team"] == "s3://of-a-team/team/data/porto.tar.gz"
    assert saw["tags"] == [{"Key": "project", "Value": "prices"}]
    assert (saw["monitors"], saw["context"]) == ([], None)
    assert saw["left"] == []
    assert saw["reports to AWS"] is False
    # Porto's weights are 3 and 1, and its bias is 100.
    transformed = [{"id": n, "SageMakerOutput": {"predictions": [100.0 + 3 * n + n]}} for n in range(3)]
    assert saw["transformed"] == transformed
    assert "[sagemaker logs]: MaxConcurrentTransforms=1, MaxPayloadInMB=6" in saw["transform log"]
    assert re.fullmatch(rf"s3://{saw['bucket']}/{saw['name']}/{saw['name']}-.+/output/model.tar.gz", saw["trained"])
    assert [(each["MetricName"], each["Value"]) for each in saw["metrics"]] == [("loss", 0.5)]
    assert "loss=0.5;" in saw["training log"] and "Completed - Training job completed" in saw["training log"]


@pytest.mark.real
def test_sagemaker_sdk_3_creates_waits_invokes_transforms_and_deletes(
    archives: Path, environment: dict[str, str]
) -> None:
    saw = run_sdk(sdks.sdk_3(), "sdk_3.py", archives, environment)
    assert saw["bucket"] == f"sagemaker-us-east-1-{ACCOUNT_ID}"
    assert saw["role"].startswith(f"arn:aws:iam::{ACCOUNT_ID}:role/")
    assert saw["status"] == "InService"
    assert saw["variants"] == ["AllTraffic"]
    first = {f"cities/{city}.tar.gz": PREDICTIONS[city] for city in CITIES[:3]}
    assert saw["predictions"] == first
    assert saw["prediction of added"] == PREDICTIONS["porto"]
    assert saw["listed with added"] == [f"{saw['name']}/{path}" for path in (*first, "later/porto.tar.gz")]
    assert f"(bucket: {saw['bucket']}, key: {saw['name']}/atlantis.tar.gz)" in saw["error"]
    assert saw["got"] == ["MultiModel", saw["name"], saw["name"]]
    assert (saw["transform job"], saw["transformed"]) == ("Completed", {"predictions": PREDICTIONS["porto"][:1]})
    assert saw["left"] == []
    assert saw["reports to AWS"] is False


@pytest.mark.real
def test_the_javascript_sdk_uploads_creates_waits_invokes_streams_and_deletes(
    archives: Path, environment: dict[str, str]
) -> None:
    try:
        saw = javascript.run_script(IMAGE, str(archives), environment=environment)
    except NotProvisioned as reason:
        pytest.skip(str(reason))
    assert saw["account"] == ACCOUNT_ID
    assert saw["checksum"] == "AAAAAA=="  # of nothing, which S3 does not hold against the data
    assert (saw["uploaded"], saw["same"]) == (200, True)
    assert saw["listed"] == [f"models/{city}.tar.gz" for city in CITIES]
    assert saw["waited"] == saw["deleted"] == "SUCCESS"
    assert saw["predictions"] == {f"{city}.tar.gz": PREDICTIONS[city] for city in CITIES}
    assert saw["streamed"] == PREDICTIONS["braga"]
    name, status, message = saw["error"]
    assert (name, status) == ("ValidationError", 400)
    assert "(bucket: from-javascript, key: models/atlantis.tar.gz)" in message


@pytest.fixture
def aws(
    session: boto3.session.Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Any]:
    """The AWS CLI, in this process: what it prints, parsed if it is JSON."""
    monkeypatch.chdir(tmp_path)

    def aws(*words: str) -> Any:
        code = awscli.clidriver.create_clidriver().main(words)
        printed = capfd.readouterr()
        assert code == 0, printed.err
        return json.loads(printed.out) if printed.out.startswith("{") else printed.out

    return aws


def test_the_aws_cli_does_all_of_it(archives: Path, aws: Callable[..., Any], tmp_path: Path) -> None:
    aws("s3", "mb", "s3://shelf")
    aws("s3", "sync", "archives", "s3://shelf/models/cities")
    listed = aws("s3", "ls", "s3://shelf/models/", "--recursive").split()
    assert [word for word in listed if word.endswith(".gz")] == [f"models/cities/{city}.tar.gz" for city in CITIES]

    container = {"Image": IMAGE, "Mode": "MultiModel", "ModelDataUrl": "s3://shelf/models/"}
    model = aws(
        *("sagemaker", "create-model", "--model-name", "from-the-cli", "--execution-role-arn", ROLE),
        *("--primary-container", json.dumps(container)),
    )
    assert model["ModelArn"] == f"arn:aws:sagemaker:us-east-1:{ACCOUNT_ID}:model/from-the-cli"
    variant = "VariantName=AllTraffic,ModelName=from-the-cli,InstanceType=ml.m5.large,InitialInstanceCount=1"
    named = ("--endpoint-config-name", "from-the-cli")
    aws("sagemaker", "create-endpoint-config", *named, "--production-variants", variant)
    endpoint = ("--endpoint-name", "from-the-cli")
    aws("sagemaker", "create-endpoint", *endpoint, *named)
    aws("sagemaker", "wait", "endpoint-in-service", *endpoint)
    statuses = {
        each["EndpointName"]: each["EndpointStatus"] for each in aws("sagemaker", "list-endpoints")["Endpoints"]
    }
    assert statuses["from-the-cli"] == "InService"

    (tmp_path / "rows.json").write_text(ROWS)
    answer = aws(
        *("sagemaker-runtime", "invoke-endpoint", *endpoint, "--target-model", "cities/porto.tar.gz"),
        *("--content-type", "application/json", "--body", "fileb://rows.json", "answer.json"),
    )
    assert answer["InvokedProductionVariant"] == "AllTraffic"
    assert json.loads((tmp_path / "answer.json").read_text())["predictions"] == PREDICTIONS["porto"]

    aws("sagemaker", "delete-endpoint", *endpoint)
    aws("sagemaker", "wait", "endpoint-deleted", *endpoint)
    aws("sagemaker", "delete-endpoint-config", *named)
    aws("sagemaker", "delete-model", "--model-name", "from-the-cli")
    aws("s3", "rb", "s3://shelf", "--force")


def test_boto3s_resources_waiters_and_paginators(archives: Path, session: boto3.session.Session) -> None:
    sagemaker, runtime = session.client("sagemaker"), session.client("sagemaker-runtime")
    bucket = session.resource("s3").Bucket("boto3-resources")
    bucket.create()
    bucket.wait_until_exists()
    for path in sorted(archives.iterdir()):
        bucket.upload_file(str(path), f"models/{path.name}")
        bucket.Object(f"models/{path.name}").wait_until_exists()
    bucket.Object("models/copies/porto.tar.gz").copy({"Bucket": bucket.name, "Key": "models/porto.tar.gz"})
    assert [each.key for each in bucket.objects.filter(Prefix="models/c")] == ["models/copies/porto.tar.gz"]

    names = [f"boto3-{number}" for number in range(3)]
    container = {"Image": IMAGE, "Mode": "MultiModel", "ModelDataUrl": f"s3://{bucket.name}/models/"}
    sagemaker.create_model(ModelName="boto3", ExecutionRoleArn=ROLE, PrimaryContainer=container)
    variant = {"VariantName": "v", "ModelName": "boto3", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    sagemaker.create_endpoint_config(EndpointConfigName="boto3", ProductionVariants=[variant])
    for name in names:
        sagemaker.create_endpoint(EndpointName=name, EndpointConfigName="boto3")
    for name in names:
        sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=name)
    pages = sagemaker.get_paginator("list_endpoints").paginate(
        NameContains="boto3-", SortBy="Name", SortOrder="Ascending", PaginationConfig={"PageSize": 2}
    )
    assert [[each["EndpointName"] for each in page["Endpoints"]] for page in pages] == [names[:2], names[2:]]

    answer = runtime.invoke_endpoint(
        EndpointName=names[0], TargetModel="copies/porto.tar.gz", ContentType="application/json", Body=ROWS
    )
    assert json.load(answer["Body"])["predictions"] == PREDICTIONS["porto"]
    bucket.upload_fileobj(io.BytesIO(b"this is no archive"), "models/broken.tar.gz")
    with pytest.raises(ClientError) as refused:
        runtime.invoke_endpoint(EndpointName=names[0], TargetModel="broken.tar.gz", Body=b"")
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] in (400, 424)

    metric = session.resource("cloudwatch").Metric("AWS/SageMaker", "Invocations")
    dimensions = [{"Name": "EndpointName", "Value": names[0]}, {"Name": "VariantName", "Value": "v"}]

    def counted() -> float:
        now = datetime.now(timezone.utc)
        points = metric.get_statistics(
            Dimensions=dimensions,
            StartTime=now - timedelta(hours=1),
            EndTime=now + timedelta(minutes=1),
            Period=60,
            Statistics=["Sum"],
        )["Datapoints"]
        return sum(point["Sum"] for point in points)

    eventually(lambda: counted() >= 1, what="the invocation is counted")

    for name in names:
        sagemaker.delete_endpoint(EndpointName=name)
        sagemaker.get_waiter("endpoint_deleted").wait(EndpointName=name)
    sagemaker.delete_endpoint_config(EndpointConfigName="boto3")
    sagemaker.delete_model(ModelName="boto3")
    bucket.objects.delete()
    bucket.delete()
    bucket.wait_until_not_exists()


@pytest.mark.parametrize("address", ["https://sts.us-east-1.amazonaws.com", "https://sts.amazonaws.com"])
def test_a_client_of_sts_that_names_awss_own_address_finds_the_emulator(
    address: str, environment: dict[str, str]
) -> None:
    script = f"import boto3; print(boto3.client('sts', endpoint_url={address!r}).get_caller_identity()['Account'])"
    command = [sys.executable, "-c", script]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert ended.stdout.strip() == ACCOUNT_ID, ended.stderr


def create(session: boto3.session.Session, name: str, command: str, **variables: str) -> Any:
    """Begin to create an endpoint; SageMaker's client."""
    sagemaker = session.client("sagemaker")
    session.resource("s3").Bucket(f"for-{name}").create()
    container = {
        "Image": f"command:{command}",
        "Mode": "MultiModel",
        "ModelDataUrl": f"s3://for-{name}/",
        "Environment": variables,
    }
    sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=container)
    variant = {"VariantName": "v", "ModelName": name, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    return sagemaker


def delete(session: boto3.session.Session, name: str) -> None:
    """Delete all that ``create`` made."""
    sagemaker = session.client("sagemaker")
    sagemaker.delete_endpoint(EndpointName=name)
    sagemaker.get_waiter("endpoint_deleted").wait(EndpointName=name)
    sagemaker.delete_endpoint_config(EndpointConfigName=name)
    sagemaker.delete_model(ModelName=name)
    session.resource("s3").Bucket(f"for-{name}").delete()


def test_a_waiter_is_told_as_soon_as_an_endpoint_is_in_service(session: boto3.session.Session) -> None:
    sagemaker = create(session, "slow", SCRIPTED_CONTAINER, SCRIPT=json.dumps({"start": {"listen": 1.5}}))
    # Who is no waiter sees it Creating.
    assert sagemaker.describe_endpoint(EndpointName="slow")["EndpointStatus"] == "Creating"
    began = time.monotonic()
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName="slow")
    assert time.monotonic() - began < 25  # it asks again after 30 s
    assert sagemaker.describe_endpoint(EndpointName="slow")["EndpointStatus"] == "InService"
    delete(session, "slow")


def test_a_waiter_is_told_of_an_endpoint_that_fails(session: boto3.session.Session) -> None:
    sagemaker = create(session, "failing", f"{sys.executable} -c 'raise SystemExit(\"no such luck\")'")
    with pytest.raises(WaiterError, match="Failed"):
        sagemaker.get_waiter("endpoint_in_service").wait(EndpointName="failing")
    assert "no such luck" in sagemaker.describe_endpoint(EndpointName="failing")["FailureReason"]
    delete(session, "failing")


def test_the_emulator_stops_while_a_waiter_waits(
    start: Callable[..., Emulator],
    session: boto3.session.Session,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "s3").mkdir()
    other = start("--no-endpoint", "--s3", str(tmp_path / "s3")).wait_ready()
    monkeypatch.setenv("AWS_ENDPOINT_URL", other.url)
    sagemaker = create(boto3.session.Session(), "never", SCRIPTED_CONTAINER, SCRIPT='{"start": {"listen": 100}}')
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(sagemaker.get_waiter("endpoint_in_service").wait, EndpointName="never")
        time.sleep(0.5)
        assert not waiting.done()
        began = time.monotonic()
        assert other.stop() == 0
        assert time.monotonic() - began < 25  # the waiter asks again after 30 s
        with pytest.raises((BotoCoreError, ClientError)):
            waiting.result()
