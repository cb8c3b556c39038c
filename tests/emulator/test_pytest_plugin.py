"""The pytest plugin, in test runs of its own: whose emulator a test gets, what is an error, and what is left behind."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.support.files import archive
from tests.support.repository import REPOSITORY
from tests.support.scripted_models import SCRIPTED_CONTAINER
from tests.support.waiting import eventually

pytest_plugins = "pytester"

HANDLER = """
import sys

def handle(data, context):
    if data is None:
        return None
    if data[0]["body"] == b"fail":
        print("the handler is asked to fail", file=sys.stderr, flush=True)
        raise RuntimeError("as asked")
    return [data[0]["body"].upper()]
"""
MARK = "LOCALMME_TEST_PLUGIN"
KILLS = 6


@pytest.fixture(autouse=True)
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's project: a handler, models, and tests that have ``tell``, which keeps what they tell for the test here.

    Its tests, in ``tests``, run from another directory than that of the handler and the models.
    """
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    # Neither the plugins that happen to be installed, some of which take a second to import, nor a user's options.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p localmme.pytest_plugin -p no:cacheprovider")
    for worker in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_XDIST_TESTRUNUID"):
        monkeypatch.delenv(worker, raising=False)
    directory = pytester.path / "tests"
    for model in ("a", "b"):
        archive(directory / "s3" / f"{model}.tar.gz", {"model.txt": model})
    (directory / "handler.py").write_text(HANDLER)
    (directory / "conftest.py").write_text(
        "import json, os, pytest\n"
        "@pytest.fixture\n"
        "def tell(request):\n"
        "    def tell(*said):\n"
        f"        with open({str(pytester.path / 'told.jsonl')!r}, 'a') as file:\n"
        "            file.write(json.dumps(said) + '\\n')\n"
        "    return tell\n"
    )
    return directory


@pytest.fixture
def run(pytester: pytest.Pytester, project: Path):
    """Run pytest on a file with these tests; in a process of its own, if they count those below it."""

    def run(tests: str, *arguments: str, configuration: str = "", in_process: bool = False) -> pytest.RunResult:
        (project / "test_user.py").write_text("import pytest\nserved = pytest.mark.localmme\n" + tests)
        if configuration:
            (project / "pytest.ini").write_text("[pytest]\n" + configuration)
        if in_process:
            return pytester.runpytest_inprocess(*arguments, "tests", "--strict-markers")
        return pytester.runpytest_subprocess(*arguments, "tests", "--strict-markers", timeout=120)

    return run


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for users: pytest finds the plugin by its entry point, as it finds all others."""
    monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p no:cacheprovider")


@pytest.fixture
def told(pytester: pytest.Pytester):
    """What the tests have told, in their order."""

    def told() -> list[list[object]]:
        path = pytester.path / "told.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    return told


@pytest.mark.usefixtures("installed")
def test_a_handler_and_an_application_are_tested_in_a_few_lines_and_a_failure_shows_what_was_logged_meanwhile(
    run,
) -> None:
    result = run(
        """
import boto3, os
pytestmark = served(models="s3", handler="handler.py")

def test_upper(localmme):
    assert localmme.invoke("a.tar.gz", b"hello") == b"HELLO"

def test_an_application(localmme_environment):
    runtime = boto3.session.Session().client("sagemaker-runtime")
    answer = runtime.invoke_endpoint(EndpointName="local", TargetModel="a.tar.gz", Body=b"x")
    assert answer["Body"].read() == b"X"

def test_the_environment_is_as_before():
    assert "AWS_ENDPOINT_URL" not in os.environ

def test_fails(localmme):
    localmme.invoke("b.tar.gz", b"fail")

def test_fails_without_an_emulator():
    assert False
"""
    )
    result.assert_outcomes(passed=3, failed=2)
    output = result.stdout.str()
    assert "the handler is asked to fail" in output and "RuntimeError: as asked" in output
    assert output.count("-- localmme http://127.0.0.1:") == 1
    section = output[output.index("-- localmme http://") :]
    assert "loaded     b.tar.gz" in section and "a.tar.gz" not in section


@pytest.mark.usefixtures("installed")
def test_without_the_plugin_there_is_no_fixture(pytester: pytest.Pytester, project: Path) -> None:
    (project / "test_user.py").write_text("def test(localmme):\n    pass\n")
    result = pytester.runpytest_subprocess("tests", "-p", "no:localmme", timeout=120)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines("*fixture 'localmme' not found*")


def test_importing_the_plugin_is_light() -> None:
    script = "import sys, localmme.pytest_plugin; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True).stdout
    heavy = ("boto3", "botocore", "click", "rich", "yaml", "docker", "psutil", "flask", "emulator", "IPython")
    assert "localmme.pytest_plugin" in loaded.split()
    assert not [name for name in loaded.split() if name.partition(".")[0] in heavy]


def test_tests_that_say_the_same_share_an_emulator_unless_it_was_stopped_and_others_do_not(run, told) -> None:
    result = run(
        f"""
import psutil
pytestmark = served(models="s3", command={SCRIPTED_CONTAINER.split()!r})

def in_memory(localmme):
    for model in ("a.tar.gz", "b.tar.gz"):
        localmme.invoke(model, b"x")
    return [model["target_model"] for model in localmme.models() if model["in_memory"]]

def test_shared(localmme, tell):
    tell(localmme.url, len(psutil.Process().children()))

@served(shared=False)
def test_of_its_own(localmme, tell):
    localmme.invoke("a.tar.gz", b"x")
    tell(localmme.url, len(psutil.Process().children()))

def test_shared_again(localmme, tell):
    tell(localmme.url, len(psutil.Process().children()))
    assert not any(model["in_memory"] for model in localmme.models())
    localmme.stop()

def test_after_it_was_stopped(localmme, tell):
    tell(localmme.url, len(psutil.Process().children()))
    localmme.invoke("a.tar.gz", b"x")

@served(max_loaded_models=1)
def test_the_nearer_marker_adds_to_it(localmme, tell):
    tell(localmme.url, in_memory(localmme))

class TestClass:
    pytestmark = served(max_loaded_models=1)

    @served(max_loaded_models=2)
    def test_the_nearest_goes_first(self, localmme, tell):
        tell(localmme.url, in_memory(localmme))

    def test_the_class_goes_before_the_module(self, localmme, tell):
        tell(localmme.url)
"""
    )
    result.assert_outcomes(passed=7)
    (first, _), (own, during), (again, after), (another, replaced), (nearer, one), (nearest, two), (of_class,) = told()
    assert first == again and nearer == of_class and len({first, own, another, nearer, nearest}) == 5
    assert (during, after, replaced) == (2, 1, 1)
    assert one == ["b.tar.gz"] and two == ["a.tar.gz", "b.tar.gz"]


def test_no_more_emulators_are_kept_than_a_few(run, told) -> None:
    result = run(
        """
import psutil
from localmme import pytest_plugin

@pytest.fixture(autouse=True, scope="module")
def a_few():
    pytest_plugin.MOST_EMULATORS = 1

@pytest.mark.parametrize("number", range(2))
def test_each(localmme, tell, number):
    tell(len(psutil.Process().children()))

@pytest.fixture(autouse=True)
def described(request):
    number = request.node.callspec.params["number"]
    request.node.add_marker(served(endpoint=False, s3="s3", limits={"drain_seconds": 1 + number}))
"""
    )
    result.assert_outcomes(passed=2)
    assert told() == [[1], [1]]


@pytest.mark.parametrize(
    "marker, words",
    [
        (
            'models="s3", handlers="handler.py"',
            ["does not take handlers. It takes, by name: *models, *handler, *command*"],
        ),
        ('"s3"', ["does not take 's3'. It takes, by name: file, models*"]),
        ('models="s3", handler="none.py"', ["localmme: There is no handler file *tests/none.py*"]),
        ('models="none"', ["localmme: There is no directory *tests/none*"]),
        ("", ["localmme: say what to serve, by @pytest.mark.localmme(models=...*"]),
    ],
)
def test_what_cannot_be_served_is_an_error_at_the_test_that_asked_for_it(run, marker: str, words: list[str]) -> None:
    tests = f"@served({marker})\ndef test_it(localmme):\n    pass\n\ndef test_another():\n    pass\n"
    result = run(tests, in_process=True)
    result.assert_outcomes(errors=1, passed=1)
    result.stdout.fnmatch_lines([f"*{line}" for line in words])
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.no_fnmatch_line("*pytest_plugin.py*")


def test_the_configuration_file_says_what_tests_have_in_common_and_the_command_line_goes_before_it(
    run, told, pytester: pytest.Pytester
) -> None:
    (pytester.path / "elsewhere").mkdir()
    tests = """
def test_it(localmme, tell):
    tell([model["target_model"] for model in localmme.models()], localmme.invoke("a.tar.gz", b"x").decode())

@served(handler="other.py")
def test_another_handler(localmme, tell):
    tell(localmme.invoke("a.tar.gz", b"x").decode())
"""
    (pytester.path / "tests" / "other.py").write_text("def handle(data, context):\n    return ['other']\n")
    archive(pytester.path / "elsewhere" / "a.tar.gz", {"model.txt": "a"})
    configuration = "localmme_models = s3\nlocalmme_command = no-such-server\nlocalmme_max_loaded_models = 1\n"
    words = ["--localmme-handler=tests/handler.py"]
    run(tests, *words, configuration=configuration, in_process=True).assert_outcomes(passed=2)
    words += ["--localmme-models=elsewhere", "-k", "test_it"]
    run(tests, *words, in_process=True).assert_outcomes(passed=1, deselected=1)
    assert told() == [[["a.tar.gz", "b.tar.gz"], "X"], ["other"], [["a.tar.gz"], "X"]]


def test_a_number_that_is_none_is_an_error_that_says_so(run) -> None:
    wrong = ("--localmme-models=tests/s3", "--localmme-max-loaded-models=few")
    result = run("def test_it(localmme): pass", *wrong, in_process=True)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines("*localmme_max_loaded_models takes a number, not 'few'.*")


def test_each_worker_of_xdist_has_its_own(run, told) -> None:
    result = run(
        """
import time

@pytest.mark.parametrize("number", range(6))
@served(endpoint=False, s3="s3")
def test_each(localmme, tell, number, worker_id):
    tell(worker_id, localmme.url)
    time.sleep(0.1)  # so that no worker does all of it
""",
        *("-p", "xdist", "-n2"),
    )
    result.assert_outcomes(passed=6)
    pairs = {tuple(pair) for pair in told()}
    assert len(pairs) == len({worker for worker, _ in pairs}) == len({url for _, url in pairs}) == 2


@pytest.fixture
def endless(pytester: pytest.Pytester, project: Path, monkeypatch: pytest.MonkeyPatch):
    """Start pytest on a test that does not end."""
    monkeypatch.setenv(MARK, str(pytester.path))
    monkeypatch.setenv("TMPDIR", str(pytester.path))
    (project / "test_user.py").write_text(
        """
import pytest, time

@pytest.mark.localmme(models="s3", handler="handler.py")
def test_for_ever(localmme, tell):
    localmme.invoke("a.tar.gz", b"x")
    tell(localmme.url)
    time.sleep(60)
"""
    )

    def endless() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "tests"],
            cwd=pytester.path,
            stdout=subprocess.DEVNULL,
        )

    return endless


def test_nothing_is_left_when_pytest_is_killed(pytester: pytest.Pytester, endless, told) -> None:
    with endless() as running:
        eventually(told, what="the test has its emulator")
        assert len(marked(str(pytester.path))) > 3  # pytest, the emulator's two, its container
        os.kill(running.pid, signal.SIGKILL)
    eventually(lambda: not marked(str(pytester.path)), what="all of it has ended")
    eventually(lambda: not any(pytester.path.glob("localmme-*/*")), what="its directory is gone")


def test_nothing_is_left_when_pytest_is_killed_at_any_moment(pytester: pytest.Pytester, endless, run) -> None:
    moments = [0.3 + 2.7 * (turn + random.random()) / KILLS for turn in range(KILLS)]
    began = time.monotonic()
    running = [endless() for _ in moments]
    for moment, process in zip(moments, running):
        time.sleep(max(0.0, began + moment - time.monotonic()))
        process.kill()
        process.wait()
    eventually(lambda: not marked(str(pytester.path)), what=f"all have ended that were killed after {moments}")
    # What an emulator could not clean up that was killed in the middle of its start, the next one does.
    run("@served(models='s3', handler='handler.py')\ndef test_next(localmme): pass\n").assert_outcomes(passed=1)
    assert not any(pytester.path.glob("localmme-*/*")), moments


def marked(mark: str) -> list[int]:
    """The processes that belong to this test, by their environment: other tests run at the same time."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid != os.getpid() and process.environ().get(MARK) == mark:
                found.append(process.pid)
    return found


def test_each_test_has_its_own_faults_and_sees_its_own_calls(run, project: Path) -> None:
    (project / "stub.yaml").write_text("Answers: [{Json: {ok: true}}]")
    result = run(
        """
pytestmark = served(stub="stub.yaml")

@pytest.mark.localmme_fault("ModelNotReadyException", times=1, model="m")
@pytest.mark.localmme_fault("Latency", seconds=0.001)
def test_meets_faults(localmme):
    with pytest.raises(Exception, match="ModelNotReadyException"):
        localmme.invoke("m", b"1")
    localmme.invoke("m", b"2")
    assert [call.body for call in localmme.calls()] == [b"1", b"2"]
    assert localmme.calls()[1].fault == "delayed by 0.001 s"
    localmme.fault("ServiceUnavailable")

def test_meets_none(localmme):
    assert localmme.calls() == []
    localmme.invoke("m", b"3")

@pytest.mark.localmme_fault("ModelErorr")
def test_names_none(localmme):
    pass
""",
        in_process=True,
    )
    result.assert_outcomes(passed=2, errors=1)
    assert "@pytest.mark.localmme_fault: There is no fault ModelErorr: did you mean ModelError?" in result.stdout.str()
