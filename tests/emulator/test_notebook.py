"""Notebooks: the sample, the magic's commands in a real kernel, what they display, and what a killed kernel leaves."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest
from docker.errors import ImageNotFound
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient

import localmme
from emulator.printable import without_colors
from tests.support.aws_clients import ACCOUNT
from tests.support.files import archive
from tests.support.real_servers.images import Images
from tests.support.repository import REPOSITORY
from tests.support.waiting import eventually

SAMPLE = REPOSITORY / "samples" / "notebooks" / "handler_development.ipynb"
MARK = "LOCALMME_TEST_KERNEL"
KILLS = 4
HANDLER = """
import json

def model_fn(directory):
    return directory

def input_fn(body, content_type):
    return [content_type, body if isinstance(body, str) else body.decode("latin-1")]

def predict_fn(data, model):
    if data[1] == "fail":
        raise ValueError("as asked")
    return data

def output_fn(prediction, accept):
    return b"\\xff" if accept == "image/png" else prediction[1] if accept == "text/plain" else json.dumps(prediction)
"""


class Kernel:
    """A kernel as Jupyter starts it."""

    def __init__(self, directory: Path) -> None:
        self.mark = str(directory)
        self._manager = KernelManager(kernel_name="python3")
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        environment.update({MARK: self.mark, "TMPDIR": str(directory), "PYTHONPATH": str(REPOSITORY)})
        self._manager.start_kernel(cwd=str(directory), env=environment)
        self._client = self._manager.blocking_client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=60)

    def run(self, code: str) -> dict[str, Any]:
        """What the cell prints (``text``), what it displays (``data``), and whether it ended well (``status``)."""
        outcome: dict[str, Any] = {"text": "", "data": {}}

        def keep(message: dict[str, Any]) -> None:
            content = message["content"]
            if message["msg_type"] == "stream":
                outcome["text"] += content["text"]
            elif message["msg_type"] in ("execute_result", "display_data", "update_display_data"):
                outcome["data"].update(content["data"])
            elif message["msg_type"] == "error":
                outcome["text"] += "\n".join(content["traceback"])

        reply = self._client.execute_interactive(code, timeout=90, output_hook=keep)
        return {**outcome, "status": reply["content"]["status"]}

    def run_and_interrupt(self, code: str, seen: str) -> dict[str, Any]:
        """What a cell displays last that is interrupted as soon as it displays ``seen``, and how it ends."""
        pictures: list[dict[str, Any]] = []

        def keep(message: dict[str, Any]) -> None:
            if message["msg_type"] in ("display_data", "update_display_data"):
                is_first = not any(seen in picture["text/plain"] for picture in pictures)
                pictures.append(message["content"]["data"])
                if is_first and seen in pictures[-1]["text/plain"]:
                    self._manager.interrupt_kernel()

        reply = self._client.execute_interactive(code, timeout=90, output_hook=keep)
        return {"data": pictures[-1], "status": reply["content"]["status"]}

    def begin(self, code: str) -> None:
        """Run it without waiting."""
        self._client.execute(code)

    def value(self, expression: str) -> Any:
        """What an expression is, as far as JSON can tell."""
        outcome = self.run(f"import json; print(json.dumps({expression}))")
        assert outcome["status"] == "ok", outcome["text"]
        return json.loads(outcome["text"])

    def refused(self, code: str) -> str:
        """What a cell says that cannot work, without a traceback of the magic; the cell has failed."""
        outcome = self.run(code)
        assert outcome["status"] == "error"
        assert outcome["text"].startswith("UsageError: ")
        assert "localmme/notebook" not in outcome["text"]
        return outcome["text"]

    def processes(self) -> list[int]:
        """All that belong to the kernel, by their environment: other tests run at the same time."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.pid != os.getpid() and process.environ().get(MARK) == self.mark:
                    found.append(process.pid)
        return found

    @property
    def pid(self) -> int:
        assert self._manager.provisioner is not None
        return self._manager.provisioner.pid  # type: ignore[attr-defined]

    def restart(self) -> None:
        """As when someone asks for it who does not want to wait."""
        self._manager.restart_kernel(now=True)
        self._client.wait_for_ready(timeout=60)

    def stop(self) -> None:
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)


def project(directory: Path) -> Path:
    """Write a handler and models into a directory, in which a kernel can run."""
    (directory / "handler.py").write_text(HANDLER)
    for model in ("a", "b"):
        archive(directory / "s3" / f"{model}.tar.gz", {"model.txt": model})
    return directory


@contextlib.contextmanager
def started(directory: Path) -> Iterator[Kernel]:
    """A kernel in a directory with a handler and models; afterwards nothing is left of it."""
    kernel = Kernel(project(directory))
    try:
        yield kernel
    finally:
        kernel.stop()
        eventually(lambda: not kernel.processes(), what="the kernel has ended, and all that it has started")
    eventually(lambda: not any(directory.glob("localmme-*/*")), what="the emulator's directory is gone")


@pytest.fixture(scope="module")
def shared_kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    with started(tmp_path_factory.mktemp("kernel")) as kernel:
        kernel.run("import os; environment_at_first = dict(os.environ)")
        yield kernel


@pytest.fixture
def kernel(shared_kernel: Kernel) -> Iterator[Kernel]:
    """One with the extension loaded, for tests that let it live; nothing of what they have set is there afterwards."""
    assert shared_kernel.run("%load_ext localmme")["status"] == "ok"
    yield shared_kernel
    shared_kernel.run("%unload_ext localmme")
    shared_kernel.run("os.environ.clear(); os.environ.update(environment_at_first)")
    eventually(lambda: len(shared_kernel.processes()) == 1, what="its emulator has ended")


@pytest.fixture
def own_kernel(tmp_path: Path) -> Iterator[Kernel]:
    """One with the extension loaded, for a test that ends it."""
    with started(tmp_path) as kernel:
        assert kernel.run("%load_ext localmme")["status"] == "ok"
        yield kernel


# As in AWS's notebooks for containers of one's own.
SHELL_CELL = """%%sh
algorithm_name=NAME
cd container
account=$(aws sts get-caller-identity --query Account --output text)
# The region of the configuration, or else us-west-2.
region=$(aws configure get region)
region=${region:-us-west-2}
fullname="${account}.dkr.ecr.${region}.amazonaws.com/${algorithm_name}:latest"
aws ecr describe-repositories --repository-names "${algorithm_name}" > /dev/null 2>&1
if [ $? -ne 0 ]
then
    aws ecr create-repository --repository-name "${algorithm_name}" > /dev/null
fi
aws ecr get-login-password --region ${region} | docker login --username AWS --password-stdin ${account}.dkr.ecr.${region}.amazonaws.com
docker build -q -t ${algorithm_name} .
docker tag ${algorithm_name} ${fullname}
docker push ${fullname}
"""  # noqa: E501
DEPLOY = """
import boto3
uri = "123456789012.dkr.ecr.us-east-1.amazonaws.com/NAME:latest"
sagemaker, ecr = boto3.client("sagemaker"), boto3.client("ecr")
container = {"Image": uri, "Mode": "MultiModel", "ModelDataUrl": "s3://models/"}
sagemaker.create_model(ModelName="m", ExecutionRoleArn="arn:aws:iam::123456789012:role/any", PrimaryContainer=container)
variant = {"VariantName": "A", "ModelName": "m", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
sagemaker.create_endpoint_config(EndpointConfigName="c", ProductionVariants=[variant])
sagemaker.create_endpoint(EndpointName="e", EndpointConfigName="c")
sagemaker.get_waiter("endpoint_in_service").wait(EndpointName="e")
request = {"EndpointName": "e", "TargetModel": "own.tar.gz", "ContentType": "application/json"}
answer = boto3.client("sagemaker-runtime").invoke_endpoint(Body='{"features": [[1, 2]]}', **request)["Body"].read()
(pushed,) = ecr.describe_images(repositoryName="NAME")["imageDetails"]
"""
SERVE = "%localmme serve --models s3 --handler handler.py"


def test_the_sample_notebook_runs_from_top_to_bottom(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv(MARK, str(tmp_path))
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    notebook = nbformat.read(SAMPLE, as_version=4)
    NotebookClient(notebook, timeout=120).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    shown = [output["data"]["text/plain"] for output in outputs if "data" in output]
    printed = "".join(output.get("text", "") for output in outputs)
    assert "{'city': 'lisbon', 'price': 336000}" in shown
    assert "500 'square_meters'" in printed and "KeyError: 'square_meters'" in printed
    assert shown[-2] == "['lisbon.tar.gz']"
    assert all(output["data"]["text/html"] for output in outputs if "localmme at http" in str(output.get("data")))
    assert not any(tmp_path.glob("localmme-*/*")) and not any(tmp_path.glob("handler-*"))


def test_the_sample_notebook_is_committed_without_outputs() -> None:
    code = [cell for cell in json.loads(SAMPLE.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]
    assert code and all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)


def test_an_emulator_is_served_invoked_shown_and_stopped(kernel: Kernel) -> None:
    kernel.run("before = dict(__import__('os').environ), list(__import__('sys').path); models = 's3'")
    served = kernel.run(
        "%localmme serve --models $models --handler handler.py --env A=1 --limit drain_seconds=1 --no-cache"
    )
    assert served["status"] == "ok", served["text"]
    assert "a.tar.gz" in served["data"]["text/html"] and "a.tar.gz" in served["data"]["text/plain"]

    outcome = kernel.run("%localmme invoke a.tar.gz --data '{\"rooms\":3}'")
    assert outcome["data"]["text/plain"] == "['application/json', '{\"rooms\":3}']"
    outcome = kernel.run('%%localmme invoke b.tar.gz --accept text/plain\n{"rooms": {1}}')
    assert outcome["data"]["text/plain"] == "'{\"rooms\": {1}}'"
    outcome = kernel.run("%localmme invoke b.tar.gz --data x --content-type text/csv --accept image/png")
    assert outcome["data"]["text/plain"] == r"b'\xff'"
    failed = kernel.run("%localmme invoke a.tar.gz --data fail")
    assert (failed["status"], failed["text"].splitlines()[0]) == ("error", "Traceback (most recent call last):")
    # The handler's own frames are the only ones, and there is no link to a console that has no such account.
    frames = [line.split(", in ")[1] for line in failed["text"].splitlines() if line.startswith("  File ")]
    assert frames == ["predict_fn"]
    assert "ValueError: as asked (ModelError: status 500 " in failed["text"] and "console" not in failed["text"]
    assert "Did you mean" not in kernel.refused("%localmme invoke nothing-like-it --data x")
    assert "ValueError: as asked" in kernel.run("%localmme logs")["text"]
    assert len(kernel.run("%localmme logs -n 3")["text"].strip().splitlines()) == 3
    assert "calls" in kernel.run("%localmme models")["data"]["text/html"]
    assert "Endpoint local, InService" in kernel.run("%localmme state")["data"]["text/plain"]
    for watched in (kernel.run("%localmme watch 2"), kernel.run_and_interrupt("%localmme watch 600", "loaded in")):
        assert watched["status"] == "ok"
        assert "(as it was at " in watched["data"]["text/plain"]
    for form in ("text/html", "text/plain"):
        assert "a.tar.gz" in watched["data"][form] and "loaded in" in watched["data"][form]
    assert (
        kernel.value("[thread.name for thread in __import__('threading').enumerate() if '_read' in thread.name]") == []
    )
    assert "boto3" in kernel.run("import boto3; runtime = boto3.client('sagemaker-runtime'); print('boto3')")["text"]
    assert kernel.value("runtime.meta.endpoint_url == localmme_emulator.url")

    assert kernel.run("%localmme stop") == {"status": "ok", "text": "", "data": {}}
    assert kernel.value("before == (dict(__import__('os').environ), __import__('sys').path)")
    assert kernel.value("boto3.DEFAULT_SESSION is None")
    assert kernel.value("localmme_emulator.is_running") is False
    assert "The emulator was stopped." in kernel.run("localmme_emulator")["data"]["text/html"]
    assert len(kernel.processes()) == 1


def test_what_the_notebook_has_set_meanwhile_stays(kernel: Kernel) -> None:
    kernel.run("import os; os.environ['AWS_REGION'] = 'eu-west-1'")
    assert kernel.run(SERVE)["status"] == "ok"
    kernel.run("os.environ['AWS_ACCESS_KEY_ID'] = 'mine'")
    kernel.run("%unload_ext localmme")
    assert kernel.value(
        "[os.environ.get(name) for name in ('AWS_REGION', 'AWS_ACCESS_KEY_ID', 'AWS_ENDPOINT_URL')]"
    ) == [
        "eu-west-1",
        "mine",
        None,
    ]
    assert len(kernel.processes()) == 1


def test_what_cannot_work_is_said_in_one_line(kernel: Kernel) -> None:
    assert "%localmme serve --models DIR" in kernel.refused("%localmme models")
    assert "No such command 'server'" in kernel.refused("%localmme server")
    assert "--modles" in kernel.refused("%localmme serve --modles s3")
    assert "--detach" in kernel.refused("%localmme serve --models s3 --detach")
    assert "There is no directory" in kernel.refused("%localmme serve --models none")
    assert "--env takes NAME=VALUE, not 'A'" in kernel.refused("%localmme serve --models s3 --env A")
    assert "No closing quotation" in kernel.refused("%localmme serve --models 's3")
    assert len(kernel.processes()) == 1
    assert kernel.run(SERVE)["status"] == "ok"
    assert "Say what to send" in kernel.refused("%localmme invoke a.tar.gz")
    assert "ValidationError" in kernel.refused("%localmme invoke none.tar.gz --data x")
    for shows_help in ("%localmme", "%localmme serve --help"):
        outcome = kernel.run(shows_help)
        assert (outcome["status"], outcome["data"]) == ("ok", {}) and "Usage: %localmme" in outcome["text"]


CELL = """%%localmme handler
def handle(data, context):
    if data is None:
        return None
    ANSWER
"""
FUNCTION = """
def predict(data):
    return f"{greeting}, {data}"

def input_fn(body, content_type):
    return bytes(body).decode()
"""


def test_serving_again_replaces_the_emulator_at_the_same_address(kernel: Kernel) -> None:
    """A cell is the handler first, then a function; a change of either is seen by the next call."""
    kernel.run(CELL.replace("ANSWER", "return ['first']"))
    assert kernel.run("%localmme serve --models s3")["status"] == "ok"
    url, processes = kernel.value("localmme_emulator.url"), kernel.processes()
    assert kernel.run("%localmme invoke a.tar.gz --data x")["data"]["text/plain"] == "'first'"
    wrong = without_colors(kernel.run(CELL.replace("ANSWER", "return ["))["text"])
    assert wrong.startswith("  Cell In[") and "line 5\n    return [\n" in wrong
    assert "The next call is answered by it" in kernel.run(CELL.replace("ANSWER", "raise ValueError('second')"))["text"]
    failed = kernel.run("%localmme invoke a.tar.gz --data x")["text"].splitlines()
    assert failed[0] == "Traceback (most recent call last):" and failed[1].endswith('/handler.py", line 5, in handle')
    assert failed[-1].startswith("ValueError: second (handler.py, line 5, in handle) (ModelError: status 500 ")

    kernel.run("greeting = {1}\n" + FUNCTION)
    assert kernel.run("%localmme serve --models s3 --handler $predict --max-loaded-models 1")["status"] == "ok"
    assert kernel.value("localmme_emulator.url") == url
    assert len(kernel.processes()) == len(processes)
    assert kernel.run("%localmme invoke a.tar.gz --data x")["data"]["text/plain"] == "'{1}, x'"
    kernel.run("greeting = {2}")
    assert kernel.run("%localmme invoke a.tar.gz --data x")["data"]["text/plain"] == "'{2}, x'"
    Path(kernel.mark, "weights").write_text("1")
    assert "weights.tar.gz: " in kernel.run("%localmme pack weights --flavor none")["text"]
    kernel.run("%localmme stop")
    assert kernel.value("'AWS_ENDPOINT_URL' in __import__('os').environ") is False
    assert "The emulator has ended" in kernel.refused("%localmme invoke a.tar.gz --data x")


def test_a_restarted_kernel_leaves_no_emulator_and_a_killed_one_nothing(own_kernel: Kernel) -> None:
    own_kernel.run(CELL.replace("ANSWER", "return ['x']"))
    assert own_kernel.run("%localmme serve --models s3")["status"] == "ok"
    own_kernel.run("%localmme invoke a.tar.gz --data x")
    assert len(own_kernel.processes()) > 3  # the kernel, the emulator's two, its container
    own_kernel.restart()
    eventually(lambda: len(own_kernel.processes()) == 1, what="only the kernel is left")
    assert own_kernel.run("%load_ext localmme")["status"] == own_kernel.run(SERVE)["status"] == "ok"
    assert not any(Path(own_kernel.mark).glob("localmme-*/*/cell"))  # of the kernel that was killed
    os.kill(own_kernel.pid, signal.SIGKILL)
    eventually(lambda: not own_kernel.processes(), what="all of it has ended")


def test_a_kernel_killed_at_any_moment_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project(tmp_path)
    moments = [2.0 * (turn + random.random()) / KILLS for turn in range(KILLS)]
    with ThreadPoolExecutor(KILLS) as threads:
        kernels = list(threads.map(Kernel, [tmp_path] * KILLS))
    began = time.monotonic()
    for kernel in kernels:
        kernel.begin(f"%load_ext localmme\n{SERVE}\n%localmme invoke a.tar.gz --data x\n%localmme stop")
    for moment, kernel in zip(moments, kernels, strict=True):
        time.sleep(max(0.0, began + moment - time.monotonic()))
        os.kill(kernel.pid, signal.SIGKILL)
    for kernel in kernels:
        kernel.stop()
    eventually(lambda: not kernels[0].processes(), what=f"all have ended that were killed after {moments}")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    localmme.serve(models=tmp_path / "s3", handler=tmp_path / "handler.py").stop()
    assert not any(tmp_path.glob("localmme-*/*")), moments


@pytest.mark.docker
def test_a_notebook_that_builds_and_pushes_its_container_runs_unchanged(kernel: Kernel, images: Images) -> None:
    name = f"localmme-test/notebook-{uuid.uuid4().hex}"  # another run of the tests has another one
    container, bucket = Path(kernel.mark, "container"), Path(kernel.mark, "buckets", "models")
    container.mkdir()
    (container / "Dockerfile").write_text(f"FROM {images.plain()}\n")
    archive(bucket / "own.tar.gz", {"model.json": '{"weights": [2, 3], "bias": 1}'})
    kernel.run(f"import os; os.environ['PATH'] = {str(Path(sys.executable).parent)!r} + ':' + os.environ['PATH']")
    assert kernel.run("%localmme serve --no-endpoint --s3 buckets")["status"] == "ok"
    try:
        built = kernel.run(SHELL_CELL.replace("NAME", name))
        assert built["status"] == "ok", built["text"]
        assert "Login Succeeded" in built["text"]
        deployed = kernel.run(DEPLOY.replace("NAME", name))
        assert deployed["status"] == "ok", deployed["text"]
        assert json.loads(kernel.value("answer.decode()")) == {"predictions": [9]}
        digest, size = kernel.value("[pushed['imageDigest'], pushed['imageSizeInBytes']]")
        assert kernel.value("pushed['imageTags']") == ["latest"]
        assert f"latest: digest: {digest} size: {size}" in built["text"]
        failed = kernel.run(f"%%sh\ndocker push {ACCOUNT}.dkr.ecr.us-west-2.amazonaws.com/{name}:none")
        assert failed["status"] == "error" and "non-zero exit status 1" in failed["text"]
    finally:
        kernel.run("%localmme stop")
        for tag in (name, f"{ACCOUNT}.dkr.ecr.us-west-2.amazonaws.com/{name}"):
            with contextlib.suppress(ImageNotFound):
                images.engine.images.remove(tag, noprune=True)
