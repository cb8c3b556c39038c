"""The notebooks of samples/notebooks that are written like AWS's, each run in a kernel from the first cell to the last.

Nothing but the environment says where AWS is. What stands for AWS's images is mapped to them, see ``IMAGES``.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest
from docker.errors import ImageNotFound
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient

from emulator.aws.arn import ACCOUNT_ID
from emulator.state_directory import StateDirectory
from localmme.aws_environment import aws_environment
from localmme.engine_cli import launchers
from tests.support.emulator_process import Emulator
from tests.support.real_clients import sdks
from tests.support.real_clients.outside import Outside
from tests.support.real_servers import huggingface, torchserve, triton
from tests.support.real_servers.images import Images
from tests.support.real_servers.making import NotProvisioned
from tests.support.real_servers.virtual_environment import VirtualEnvironment
from tests.support.repository import REPOSITORY

pytestmark = pytest.mark.real

SAMPLES = REPOSITORY / "samples"
DJL_SERVER = REPOSITORY / "tests" / "support" / "real_servers" / "inside" / "djl_server.py"
# What runs in place of AWS's images, by patterns of their names.
IMAGES: dict[str, Callable[[], list[str]]] = {
    "*pytorch-inference:2.3*": torchserve.command,
    "*huggingface-pytorch-inference*": huggingface.command,
    "*sagemaker-tritonserver*": triton.command,
    "*djl-inference*": lambda: [sys.executable, str(DJL_SERVER)],
}
PLAIN_SERVER = SAMPLES / "containers" / "plain" / "serve.py"
# By notebook: what it prints, in this order.
PRINTS = {
    "byoc_multi_model": [
        "['lisbon.tar.gz', 'porto.tar.gz']",
        "lisbon {'predictions': [331.0]}",
        "porto {'predictions': [268.0]}",
        "(ValidationError)",
        "['lisbon.tar.gz', 'north/braga.tar.gz', 'porto.tar.gz']",
        "braga {'predictions': [199.0]}",
    ],
    "djl_multi_model": ["english {'text': 'Hello, Ana!'}", "portuguese {'text': 'Ol\u00e1, Ana!'}"],
    "huggingface_multi_model": [  # one that is loaded is enough: its process imports PyTorch for ten seconds
        "['mood.tar.gz']\nGOOD 0.9\nGOOD 0.9\n['mood.tar.gz', 'urgency.tar.gz']",
    ],
    "torchserve_multi_model": ["mean [2.0, 5.0]", "difference [-2.0, 6.0]"],
    "triton_multi_model": ["double [2.0, 4.0, 7.0]", "triple [3.0, 6.0, 10.5]"],
    "data_capture": [
        "Started\n",
        "lisbon [331.0, 378.0]",
        '"observedContentType": "text/csv"',
        "about-lisbon CSV [331.0, 378.0]",
        "about-porto CSV [268.0, 306.0]",
        "Stopped\n[268.0]",
    ],
    "trained_models": [
        "lisbon Completed {'error': 0.0}",
        "faro Completed {'error': 0.0}",
        "train.py --city lisbon --held-out 20",
        "lisbon: mean absolute error 0.0",
        "['lisbon.tar.gz', 'porto.tar.gz']",
        "lisbon [365000, 222000], in ",
        "porto [285000, 174000], in ",
        "faro [315000, 192000]",
        "invocations",
    ],
    "pipeline_and_access": [
        "lisbon {'price': 365000, 'words': '365 thousand'}",
        "porto {'price': 285000, 'words': '285 thousand'}",
        "lisbon 365 thousand",
        "porto AccessDeniedException",
    ],
    "sagemaker_sdk_3": [
        "lisbon Completed\nporto Completed",
        "lisbon [160000, 320000]\nporto [120000, 240000]",
    ],
    "online_explainability": [
        '"EnableExplanations": "`true`"',
        "without explanations: [331.0, 378.0]",
        "with explanations: An error occurred (ValidationError)",
        "no explanations are computed",
    ],
}
WITH_ACCESS = "pipeline_and_access"  # by an emulator of its own
WITH_SDK_3 = "sagemaker_sdk_3"  # by a kernel of its own
RUN_ELSEWHERE = {"handler_development", "multi_model_endpoint"}  # by tests of their own


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the samples, as the notebooks write files beside themselves."""
    directory = tmp_path_factory.mktemp("notebooks")
    (directory / "home").mkdir()
    for name in ("notebooks", "containers"):
        shutil.copytree(SAMPLES / name, directory / name)
    return directory


@pytest.fixture(scope="module")
def emulator(directory: Path) -> Iterator[Emulator]:
    """One that has nothing yet but an empty S3."""
    (directory / "s3").mkdir()
    try:
        mapped = [f"--map-image={pattern}=command:{shlex.join(image())}" for pattern, image in IMAGES.items()]
    except NotProvisioned as reason:
        pytest.skip(str(reason))
    limits = ("--limit", "capture_seconds=0.5", "--limit", "invocation_seconds=240")
    mapped.append("--map-image=*sagemaker-scikit-learn*=script")
    emulator = Emulator("--no-endpoint", "--s3", str(directory / "s3"), *mapped, *limits, state=directory / "state")
    try:
        yield emulator.wait_ready()
    finally:
        emulator.stop()


@pytest.fixture(scope="module")
def kernel(emulator: Emulator, directory: Path) -> Iterator[KernelManager]:
    """A kernel with the SageMaker Python SDK 2. It is one for all notebooks: to import the SDK takes seconds."""
    with started(sdks.sdk_2(), emulator, directory) as kernel:
        yield kernel


@contextlib.contextmanager
def started(sdk: VirtualEnvironment, emulator: Emulator, directory: Path) -> Iterator[KernelManager]:
    """A kernel with an SDK, in the environment that ``localmme env`` exports; nothing of it may call the internet."""
    try:
        python = sdk.python
    except NotProvisioned as reason:
        pytest.skip(str(reason))
    spec = directory / "kernels" / sdk.name
    spec.mkdir(parents=True)
    words = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (spec / "kernel.json").write_text(json.dumps({"argv": words, "display_name": sdk.name, "language": "python"}))
    manager = KernelManager(kernel_name=sdk.name, kernel_spec_manager=KernelSpecManager(kernel_dirs=[str(spec.parent)]))
    outside = Outside()
    known = ("AWS_", "SAGEMAKER_", "NO_PROXY", "no_proxy")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(known)}
    environment |= {"HOME": str(directory / "home"), **outside.environment, "no_proxy": "127.0.0.1"}
    exported = aws_environment(emulator.url, "us-east-1", launchers.write(StateDirectory(emulator.state_directory)))
    try:
        manager.start_kernel(env={**environment, **exported.variables}, cwd=str(directory / "notebooks"))
        yield manager
        assert outside.asked == []
    finally:
        if manager.has_kernel:
            manager.shutdown_kernel(now=True)
        outside.stop()


def run(name: str, kernel: KernelManager, directory: Path, **environment: str) -> None:
    """Run all cells of a notebook, with these variables set besides; they have to print what they should."""
    notebook = nbformat.read(directory / "notebooks" / f"{name}.ipynb", as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    clean = f"%reset -f\n__import__('os').environ.update({environment!r})"
    notebook.cells.insert(0, nbformat.v4.new_code_cell(clean))
    try:
        NotebookClient(notebook, km=kernel, timeout=300).execute()
    finally:
        done = [cell for cell in code if cell.execution_count]
        print(f"{name}: {len(done)} of {len(code)} cells have been run", file=sys.stderr)
    printed = "".join(output.get("text", "") for cell in code for output in cell.outputs)
    at = 0
    for text in PRINTS[name]:
        assert text in printed[at:], printed
        at = printed.index(text, at)


@pytest.mark.parametrize("name", [name for name in PRINTS if name not in (WITH_ACCESS, WITH_SDK_3)])
def test_a_notebook_runs_from_the_first_cell_to_the_last(
    name: str, kernel: KernelManager, emulator: Emulator, directory: Path
) -> None:
    run(name, kernel, directory, IMAGE=f"command:{sys.executable} {PLAIN_SERVER}", AWS_ENDPOINT_URL=emulator.url)


def test_the_notebook_for_sdk_3_runs_from_the_first_cell_to_the_last(emulator: Emulator, directory: Path) -> None:
    with started(sdks.sdk_3(), emulator, directory) as kernel:
        run(WITH_SDK_3, kernel, directory, AWS_ENDPOINT_URL=emulator.url)


def test_the_notebook_about_roles_runs_with_access_control(kernel: KernelManager, directory: Path) -> None:
    (directory / "guarded").mkdir()
    options = [f"--s3={directory / 'guarded'}", f"--access={directory / 'notebooks' / 'access.yaml'}"]
    mapped = "--map-image=*sagemaker-scikit-learn*=script"
    emulator = Emulator("--no-endpoint", *options, mapped, state=directory / "guarded-state")
    try:
        run(WITH_ACCESS, kernel, directory, AWS_ENDPOINT_URL=emulator.wait_ready().url)
    finally:
        emulator.stop()


@pytest.mark.docker
def test_the_notebook_that_builds_and_pushes_its_container_does_so(
    kernel: KernelManager, emulator: Emulator, directory: Path, images: Images
) -> None:
    repository = f"localmme-test/byoc-{uuid.uuid4().hex}"  # another run of the tests has another one
    try:
        image = {"IMAGE": "", "BASE_IMAGE": images.base(), "REPOSITORY": repository}
        run("byoc_multi_model", kernel, directory, **image, AWS_ENDPOINT_URL=emulator.url)
    finally:
        with contextlib.suppress(ImageNotFound):
            images.engine.images.remove(f"{ACCOUNT_ID}.dkr.ecr.us-east-1.amazonaws.com/{repository}", noprune=True)


def test_every_notebook_is_run_and_is_committed_without_outputs() -> None:
    notebooks = {path.stem: nbformat.read(path, as_version=4) for path in (SAMPLES / "notebooks").glob("*.ipynb")}
    assert set(notebooks) == RUN_ELSEWHERE | set(PRINTS)
    for notebook in notebooks.values():
        code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        assert code and all(cell.outputs == [] and cell.execution_count is None for cell in code)
        assert not any("import localmme" in cell.source for cell in code)
