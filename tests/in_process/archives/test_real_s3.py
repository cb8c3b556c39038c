"""Models in real S3, for which other servers stand here: the emulator's own S3, served by another one, and moto's."""

from __future__ import annotations

import contextlib
import itertools
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import BotoCoreError, ClientError
from gunicorn.arbiter import Arbiter

from tests.support.aws_clients import KEYS
from tests.support.command_line import localmme
from tests.support.emulator_in_process import InProcessEmulator
from tests.support.endpoint_files import described, scripted_container
from tests.support.files import archive, files_below
from tests.support.models_in_s3 import MEGABYTE, large, packed, settings
from tests.support.processes import free_port
from tests.support.s3_servers import S3Server, client, served
from tests.support.scripted_models import Journal, scripted_arguments
from tests.support.waiting import eventually

Start = Callable[..., InProcessEmulator]
numbers = itertools.count()


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with served(tmp_path_factory.mktemp("s3")) as server:
        server.client.create_bucket(Bucket="models")
        yield server


@pytest.fixture(scope="module")
def motos() -> Iterator[str]:
    moto_server = pytest.importorskip("moto.server")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = moto_server.ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    client(f"http://{host}:{port}").create_bucket(Bucket="models")
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(params=["ours", "motos"])
def url(request: pytest.FixtureRequest) -> str:
    """Where there is an S3, with a bucket ``models``."""
    server = request.getfixturevalue(request.param)
    return server if isinstance(server, str) else server.url


@pytest.fixture
def prefix() -> str:
    """Of this test's own."""
    return f"{next(numbers)}/europe"


@pytest.fixture
def serve_from(serve: Start, journal: Journal, prefix: str) -> Start:
    """Serve the models below the prefix, from the S3 at a URL."""

    def serve_from(url: str, *arguments: str, **environment: str) -> InProcessEmulator:
        models = scripted_arguments(f"s3://models/{prefix}", journal, {})
        return serve(*models, *arguments, environment={**settings(url), **environment})

    return serve_from


# What is there


def test_models_are_loaded_from_it(serve_from: Start, url: str, prefix: str) -> None:
    s3 = client(url)
    s3.put_object(Bucket="models", Key=f"{prefix}/cities/lisbon.tar.gz", Body=packed("I am Lisbon"))
    emulator = serve_from(url)
    assert emulator.invoke("cities/lisbon.tar.gz")["answer"] == "I am Lisbon"
    s3.delete_object(Bucket="models", Key=f"{prefix}/cities/lisbon.tar.gz")
    # As on SageMaker, a model that is deleted from S3 is served on.
    assert emulator.invoke("cities/lisbon.tar.gz")["answer"] == "I am Lisbon"


def test_a_missing_model_is_told_with_its_bucket_and_key(serve_from: Start, url: str, prefix: str) -> None:
    emulator = serve_from(url)
    for target_model in ("porto.tar.gz", "../europe/porto.tar.gz", "/porto.tar.gz"):
        with pytest.raises(ClientError) as caught:
            emulator.invoke(target_model)
        assert caught.value.response["Error"]["Code"] == "ValidationError"
        assert caught.value.response["Error"]["Message"].startswith(
            f"Failed to download model data(bucket: models, key: {prefix}/{target_model}). Please ensure that there is"
        )
    volume = emulator.state_directory / "instances"
    assert files_below(volume) == []


def test_what_is_no_archive_is_told(serve_from: Start, url: str, prefix: str) -> None:
    s3 = client(url)
    s3.put_object(Bucket="models", Key=f"{prefix}/empty.tar.gz", Body=b"")
    s3.put_object(Bucket="models", Key=f"{prefix}/text.tar.gz", Body=b"text")
    s3.put_object(Bucket="models", Key=f"{prefix}/cut.tar.gz", Body=packed("I am cut")[:-20])
    emulator = serve_from(url)
    for name, reason in (("empty", "The file is empty"), ("text", "not compressed with gzip"), ("cut", "truncated")):
        with pytest.raises(ClientError, match=f"Failed to extract model data archive {name}.tar.gz: .*{reason}"):
            emulator.invoke(f"{name}.tar.gz")
    assert files_below(emulator.state_directory / "instances") == []


def test_more_models_than_a_page_are_listed(serve_from: Start, ours: S3Server, prefix: str) -> None:
    directory = ours.root / "models" / prefix
    directory.mkdir(parents=True)
    for number in range(1003):
        (directory / f"{number}.tar.gz").write_bytes(b"x" * 7)
    ours.client.put_object(Bucket="models", Key=f"{prefix}/folder/", Body=b"")
    ours.client.put_object(Bucket="models", Key=f"{prefix}-other/no.tar.gz", Body=b"")
    emulator = serve_from(ours.url)
    models = emulator.state()["models"]
    assert sorted(model["target_model"] for model in models) == sorted(f"{number}.tar.gz" for number in range(1003))
    assert {model["size_bytes"] for model in models} == {7} and all(model["in_s3"] for model in models)
    listed = localmme("models", "--url", emulator.url)
    assert "1002.tar.gz" in listed.stdout, listed.stderr


def test_a_bucket_can_be_all_models(serve: Start, journal: Journal, url: str) -> None:
    s3 = client(url)
    s3.create_bucket(Bucket="all-models")
    s3.put_object(Bucket="all-models", Key="lisbon.tar.gz", Body=packed("I am Lisbon"))
    emulator = serve(*scripted_arguments("s3://all-models", journal, {}), environment=settings(url))
    assert emulator.invoke("lisbon.tar.gz")["answer"] == "I am Lisbon"
    assert emulator.model("lisbon.tar.gz")["in_s3"]


def test_a_profile_says_where_it_is(serve_from: Start, ours: S3Server, prefix: str, tmp_path: Path) -> None:
    ours.client.put_object(Bucket="models", Key=f"{prefix}/lisbon.tar.gz", Body=packed("I am Lisbon"))
    (tmp_path / "config").write_text(
        f"[profile mine]\nregion = eu-west-1\nservices = here\n[services here]\ns3 =\n  endpoint_url = {ours.url}\n"
    )
    (tmp_path / "credentials").write_text("[mine]\naws_access_key_id = a\naws_secret_access_key = b\n")
    files = {
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
    }
    others = {"AWS_ENDPOINT_URL_S3": "", "AWS_REGION": ""}
    emulator = serve_from("", AWS_PROFILE="mine", **others, **files)
    assert emulator.invoke("lisbon.tar.gz")["answer"] == "I am Lisbon"


def test_beside_it_a_directory_may_be_served_as_s3(serve_from: Start, ours: S3Server, tmp_path: Path) -> None:
    (tmp_path / "buckets" / "mine").mkdir(parents=True)
    with pytest.raises(ClientError):
        client(serve_from(ours.url).url).list_buckets()
    emulator = serve_from(ours.url, "--s3", str(tmp_path / "buckets"))
    assert [each["Name"] for each in client(emulator.url).list_buckets()["Buckets"]] == ["mine"]


def test_a_container_with_one_model_has_it_before_it_starts(
    serve: Start, ours: S3Server, journal: Journal, prefix: str, tmp_path: Path
) -> None:
    ours.client.put_object(Bucket="models", Key=f"{prefix}/one.tar.gz", Body=packed("I am the only one"))
    one = {**scripted_container(journal), "ModelDataUrl": f"s3://models/{prefix}/one.tar.gz"}
    many = {**scripted_container(journal), "ModelDataUrl": f"s3://models/{prefix}", "Mode": "MultiModel"}
    file = described(tmp_path / "endpoint.yaml", {"both": [one, many]})
    emulator = serve(file, environment=settings(ours.url))
    extracted = [path for path in files_below(emulator.state_directory / "instances") if path.name == "answer.txt"]
    assert [path.read_text() for path in extracted] == ["I am the only one"]
    assert [model["target_model"] for model in emulator.state()["models"]] == ["/one.tar.gz"]


# Archives that change


def test_with_reload_a_changed_object_is_served_at_once(serve_from: Start, url: str, prefix: str) -> None:
    s3 = client(url)
    s3.put_object(Bucket="models", Key=f"{prefix}/m.tar.gz", Body=packed("first"))
    emulator = serve_from(url, "--reload")
    assert emulator.invoke("m.tar.gz")["answer"] == "first"
    assert emulator.invoke("m.tar.gz")["answer"] == "first"
    assert emulator.model("m.tar.gz")["loads"] == 1
    s3.put_object(Bucket="models", Key=f"{prefix}/m.tar.gz", Body=packed("second"))
    assert emulator.invoke("m.tar.gz")["answer"] == "second"
    s3.delete_object(Bucket="models", Key=f"{prefix}/m.tar.gz")
    assert emulator.invoke("m.tar.gz")["answer"] == "second"


def test_of_a_changed_object_is_warned(serve_from: Start, ours: S3Server, prefix: str) -> None:
    ours.client.put_object(Bucket="models", Key=f"{prefix}/m.tar.gz", Body=packed("first"))
    emulator = serve_from(ours.url, "--limit", "s3_watch_seconds=0.1", "--limit", "poll_seconds=60")
    emulator.invoke("m.tar.gz")
    ours.client.put_object(Bucket="models", Key=f"{prefix}/m.tar.gz", Body=packed("second"))
    eventually(lambda: "changed    m.tar.gz in S3: as on SageMaker" in emulator.log, what="a warning")
    assert emulator.invoke("m.tar.gz")["answer"] == "first"


# What is wrong at the start


@pytest.fixture
def failed(start: Start) -> Callable[..., str]:
    """What ``serve`` says before it gives up."""

    def failed(*arguments: str, environment: dict[str, str]) -> str:
        emulator = start(*arguments, environment=environment)
        assert emulator.wait() == Arbiter.WORKER_BOOT_ERROR and "very-secret" not in emulator.log
        return emulator.log

    return failed


def test_a_missing_bucket_is_told(failed: Callable[..., str], url: str) -> None:
    told = failed("--models", "s3://no-such-bucket/a", environment=settings(url))
    advice = "Check the URL, and whose credentials these are."
    assert told == f"Error: There is no bucket no-such-bucket in S3 at {url}. {advice}"


def test_missing_credentials_are_told(failed: Callable[..., str], ours: S3Server) -> None:
    environment = {**settings(ours.url), "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    told = failed("--models", "s3://models/a", environment=environment)
    assert told.startswith("Error: s3://models/a/ cannot be read: no AWS credentials were found")
    assert "AWS_PROFILE" in told and "\n" not in told


def test_an_unknown_profile_is_told(failed: Callable[..., str], ours: S3Server) -> None:
    environment = {**settings(ours.url), "AWS_PROFILE": "nobody"}
    told = failed("--models", "s3://models/a", environment=environment)
    assert "nobody" in told and "Check AWS_PROFILE." in told and "\n" not in told


def test_an_s3_that_does_not_answer_is_told(failed: Callable[..., str]) -> None:
    gone = f"http://127.0.0.1:{free_port()}"
    told = failed("--models", "s3://models/a", environment=settings(gone))
    advice = "Check the network: AWS_ENDPOINT_URL_S3 is set."
    assert told == f"Error: s3://models/a/ cannot be read: S3 at {gone} cannot be reached. {advice}"


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
def test_the_emulator_itself_is_no_s3_for_its_models(failed: Callable[..., str], variable: str) -> None:
    """localmme env sets AWS_ENDPOINT_URL, which boto3 takes for S3 as well."""
    port = free_port()
    environment = {**settings(""), "AWS_ENDPOINT_URL_S3": "", variable: f"http://127.0.0.1:{port}"}
    told = failed("--models", "s3://models/a", "--port", str(port), environment=environment)
    assert told.startswith(
        f"Error: s3://models/a/ cannot be read: what answers at http://127.0.0.1:{port} is not S3. "
        f"Check the address of S3: {variable} is set"
    )
    assert ("perhaps by localmme env" in told) == (variable == "AWS_ENDPOINT_URL")
    assert "\n" not in told


def test_the_emulators_own_s3_may_be_the_place(start: Start, journal: Journal, tmp_path: Path) -> None:
    archive(tmp_path / "buckets" / "models" / "a" / "m.tar.gz", {"answer.txt": "by S3"})
    port = free_port()
    own = {**settings(""), "AWS_ENDPOINT_URL_S3": "", "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
    arguments = [*scripted_arguments("s3://models/a", journal, {}), "--s3", str(tmp_path / "buckets")]
    emulator = start(*arguments, "--port", str(port), environment=own).wait_in_service()
    assert emulator.invoke("m.tar.gz")["answer"] == "by S3"


@pytest.mark.parametrize("models", ["s3://", "https://example.com/models", "gs://models/a"])
def test_other_urls_are_refused(models: str) -> None:
    result = localmme("serve", "--models", models)
    assert result.returncode == 1
    assert "write s3://BUCKET/PREFIX." in result.stderr and result.stderr.count("\n") == 1


def test_the_one_model_of_a_container_has_to_be_there(
    failed: Callable[..., str], ours: S3Server, journal: Journal, tmp_path: Path
) -> None:
    def told(url: str, **environment: str) -> str:
        file = described(tmp_path / "endpoint.yaml", {"m": [{**scripted_container(journal), "ModelDataUrl": url}]})
        return failed(file, environment=environment)

    missing = told("s3://models/no/such.tar.gz", **settings(ours.url))
    assert missing.startswith(
        'Error: Failed to download model data for container "primary" from URL: "s3://models/no/such.tar.gz". Please'
    )
    without = told("s3://models/no/such.tar.gz", **{**settings(ours.url), "AWS_ACCESS_KEY_ID": ""})
    assert "no AWS credentials were found" in without


# What goes wrong later


class Line:
    """A connection to a server that can be cut, be slow, or be stopped."""

    def __init__(self, address: str) -> None:
        self._address = address.split(":")
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.cuts: list[int] = []  # bytes that come from the server before each of the next connections is cut
        self.pause = 0.0  # seconds before each part of an answer
        self.flows = threading.Event()  # while it is not set, no long answer comes through
        self.flows.set()
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            try:
                far = socket.create_connection(self._address)
            except OSError:
                near.close()
                continue
            threading.Thread(target=self._pass_on, args=(near, far, lambda: None), daemon=True).start()
            threading.Thread(target=self._pass_on, args=(far, near, self._budget()), daemon=True).start()

    def _budget(self) -> Callable[[], int | None]:
        return lambda: self.cuts.pop(0) if self.cuts else None

    def _pass_on(self, source: socket.socket, sink: socket.socket, budget: Callable[[], int | None]) -> None:
        left: int | None = None
        try:
            while data := source.recv(1 << 16):
                # Only long answers are cut: the budget is taken when one has begun.
                if left is None and len(data) > 1 << 14:
                    left = budget()
                if len(data) > 1 << 12:
                    time.sleep(self.pause)
                    self.flows.wait()
                if left is not None and len(data) >= left:
                    sink.sendall(data[:left])
                    break
                left = left if left is None else left - len(data)
                sink.sendall(data)
        except OSError:
            pass
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def line(ours: S3Server) -> Iterator[Line]:
    line = Line(ours.address)
    yield line
    line.close()


def test_a_download_goes_on_where_its_connection_broke(
    serve_from: Start, ours: S3Server, line: Line, prefix: str
) -> None:
    ours.client.put_object(Bucket="models", Key=f"{prefix}/m.tar.gz", Body=large(20))
    emulator = serve_from(line.url)
    line.cuts = [3 * MEGABYTE, 5 * MEGABYTE + 1, 100_000]
    assert emulator.invoke("m.tar.gz")["answer"] == "large"
    assert line.cuts == []


def test_a_download_that_always_breaks_is_told_and_leaves_nothing(
    serve_from: Start, ours: S3Server, line: Line, prefix: str
) -> None:
    ours.client.put_object(Bucket="models", Key=f"{prefix}/m.tar.gz", Body=large(20))
    emulator = serve_from(line.url)
    line.cuts = [3 * MEGABYTE] + [0] * 20
    with pytest.raises(ClientError) as caught:
        emulator.invoke("m.tar.gz")
    assert caught.value.response["Error"]["Code"] == "InternalDependencyException"
    told = str(caught.value)
    assert f"{line.url} broke off again and again" in told or f"{line.url} cannot be reached" in told
    assert files_below(emulator.state_directory / "instances") == []
    line.cuts = []
    assert emulator.invoke("m.tar.gz")["answer"] == "large"


def test_an_object_that_changes_meanwhile_is_not_mixed_up(
    serve_from: Start, ours: S3Server, line: Line, prefix: str
) -> None:
    ours.client.put_object(Bucket="models", Key=f"{prefix}/m.tar.gz", Body=large(20, "first"))
    emulator = serve_from(line.url)
    line.cuts = [6 * MEGABYTE]
    line.flows.clear()
    failures: list[Exception] = []

    def invoke() -> None:
        try:
            emulator.invoke("m.tar.gz")
        except Exception as error:
            failures.append(error)

    caller = threading.Thread(target=invoke)
    caller.start()
    eventually(lambda: not line.cuts, what="the download has begun")
    ours.client.put_object(Bucket="models", Key=f"{prefix}/m.tar.gz", Body=large(20, "second"))
    line.flows.set()
    caller.join()
    assert len(failures) == 1 and "was changed while it was downloaded" in str(failures[0])
    assert emulator.invoke("m.tar.gz")["answer"] == "second"


def test_an_s3_that_is_gone_is_told_to_callers(serve_from: Start, tmp_path: Path, prefix: str) -> None:
    server = S3Server(tmp_path / "s3", tmp_path / "s3-state")
    server.client.create_bucket(Bucket="models")
    server.client.put_object(Bucket="models", Key=f"{prefix}/m.tar.gz", Body=packed("loaded"))
    emulator = serve_from(server.url)
    assert emulator.invoke("m.tar.gz")["answer"] == "loaded"
    server.stop()
    assert emulator.invoke("m.tar.gz")["answer"] == "loaded"
    with pytest.raises(ClientError) as caught:
        emulator.invoke("other.tar.gz")
    assert caught.value.response["Error"]["Code"] == "InternalDependencyException"
    assert f"S3 at {server.url} cannot be reached" in str(caught.value)
    assert emulator.model("m.tar.gz")["in_memory"]
    assert "warning    What is in S3 cannot be listed" in emulator.log


def test_ctrl_c_breaks_a_download_off(serve_from: Start, ours: S3Server, line: Line, prefix: str) -> None:
    ours.client.put_object(Bucket="models", Key=f"{prefix}/m.tar.gz", Body=large(60))
    emulator = serve_from(line.url, "--limit", "drain_seconds=0.1")
    line.pause = 0.1  # a minute and a half for all of it

    def invoke() -> None:
        with contextlib.suppress(BotoCoreError, ClientError):
            emulator.invoke("m.tar.gz")

    caller = threading.Thread(target=invoke)
    caller.start()
    eventually(lambda: files_below(emulator.state_directory / "instances"), what="the download has begun")
    assert emulator.stop() == 0
    caller.join()
    assert files_below(emulator.state_directory / "instances") == []


def test_the_control_plane_tells_where_it_is(serve_from: Start, ours: S3Server, prefix: str) -> None:
    emulator = serve_from(ours.url)
    sagemaker = boto3.client("sagemaker", endpoint_url=emulator.url, **KEYS)
    [model] = sagemaker.list_models()["Models"]
    described_model = sagemaker.describe_model(ModelName=model["ModelName"])
    assert described_model["PrimaryContainer"]["ModelDataUrl"] == f"s3://models/{prefix}/"
