"""Docker containers by themselves: how they are started, watched, fed with models and ended."""

from __future__ import annotations

import asyncio

import docker
import pytest

from emulator.containers.docker import discovery
from emulator.containers.docker.container import DockerContainer
from emulator.containers.docker.image_files import look
from emulator.errors import ContainerError, SetupError
from emulator.limits import Limits
from tests.support.docker_host import MIB, PROGRAM, SERVE, SLEEP, Host, Run, containers_of, fetch
from tests.support.real_servers.images import FROM, MULTI_MODEL_LABEL, Images
from tests.support.waiting import until

pytestmark = pytest.mark.docker


# What a container is given


def test_a_container_is_run_as_sagemaker_runs_it(run_scenario: Run) -> None:
    async def scenario(host: Host) -> None:
        host.model("m1", "one")
        reported = await host.reported(name="my primary_1", environment={"SAGEMAKER_MULTI_MODEL": "true", "A": "b=c"})
        assert reported["arguments"] == ["serve"]
        assert reported["host"] == "my-primary-1"
        assert reported["models"] == ["m1"]
        assert reported["environment"]["SAGEMAKER_MULTI_MODEL"] == "true"
        assert reported["environment"]["A"] == "b=c"
        assert "SAGEMAKER_BIND_TO_PORT" not in reported["environment"]
        assert reported["environment"]["SAGEMAKER_SAFE_PORT_RANGE"] == "25000-25999"
        assert list(host.directory.joinpath("models").iterdir()) == [host.directory / "models" / "m1"]

    run_scenario(scenario)


def test_a_single_model_is_mounted_and_may_be_missing(run_scenario: Run) -> None:
    async def scenario(host: Host) -> None:
        directory = host.model("m1", "one")
        reported = await host.reported(multi_model=False, models=directory)
        assert (reported["model"], reported["models"]) == (["weights.txt"], None)
        reported = await host.reported(multi_model=False, models=host.directory / "nothing")
        assert (reported["model"], reported["models"]) == ([], None)

    run_scenario(scenario)


def test_models_that_come_later_are_seen_and_cannot_be_written(run_scenario: Run) -> None:
    async def scenario(host: Host) -> None:
        container = host.container("try: open('/opt/ml/models/x', 'w')\nexcept OSError as e: print(e)\n" + SERVE)
        await container.start()
        url = await container.deliver(host.model("m1", "one"))
        assert url == "/opt/ml/models/m1/model"
        assert await fetch(container, "/models/m1/model/weights.txt") == b"one"
        await host.line("[Errno 30] Read-only file system: '/opt/ml/models/x'")
        await container.stop()

    run_scenario(scenario)


def test_memory_and_processor_time_in_use_are_measured(run_scenario: Run) -> None:
    async def scenario(host: Host) -> None:
        uses = """
import time
kept, ends = bytearray(os.urandom(80 * 2**20)), time.process_time() + 0.5
while time.process_time() < ends: pass
"""
        container = host.container("import os\n" + uses + SERVE)
        assert (await container.memory_used(), await container.cpu_seconds()) == (0, None)
        await container.start()
        await fetch(container, "/")
        memory, seconds = await container.memory_used(), await container.cpu_seconds()
        assert 80 * MIB < memory < 120 * MIB
        assert seconds is not None and 0.5 <= seconds < 10
        # By the engine's API, when the cgroup cannot be read, they are the same.
        container._process = (0, "")
        again, more = await asyncio.gather(container.memory_used(), container.cpu_seconds())
        assert abs(again - memory) < 5 * MIB
        assert more is not None and seconds <= more < seconds + 1
        await container.stop()
        assert (await container.memory_used(), await container.cpu_seconds()) == (0, None)

    run_scenario(scenario)


# Its output, and how it ends


def test_no_line_of_a_container_that_ends_at_once_is_lost(run_scenario: Run) -> None:
    async def scenario(host: Host) -> None:
        container = host.container("for i in range(10000): print('line', i)\nraise SystemExit(3)")
        await container.start()
        assert await container.wait() == "ended with exit code 3"
        assert host.lines == [f"line {number}" for number in range(10000)]
        await container.stop()

    run_scenario(scenario)


def test_output_is_cut_into_lines(run_scenario: Run) -> None:
    async def scenario(host: Host) -> None:
        container = host.container(
            """
import sys, time
def say(stream, text): stream.buffer.write(text); stream.flush(); time.sleep(0.1)
say(sys.stdout, b'out '); say(sys.stderr, b'err '); say(sys.stdout, b'one\\r\\n'); say(sys.stderr, b'two\\n\\xff\\n')
say(sys.stdout, b'x' * 200000 + b'\\n'); say(sys.stdout, b'no end')
"""
        )
        await container.start()
        await container.wait()
        # The engine reads the two streams apart: how their lines follow each other is its affair.
        err = ["err two", "\N{REPLACEMENT CHARACTER}"]
        assert [line for line in host.lines if line in err] == err
        first, *parts, last = [line for line in host.lines if line not in err]
        assert (first, "".join(parts), last) == ("out one", "x" * 200000, "no end")
        assert max(map(len, parts)) < 200000
        await container.stop()

    run_scenario(scenario)


def test_a_container_may_be_silent_for_longer_than_the_engine_may(
    run_scenario: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "CONNECT_SECONDS", 3.0)
    monkeypatch.setattr(discovery, "ANSWER_SECONDS", 3.0)

    async def scenario(host: Host) -> None:
        speaks_late = host.container("import time; time.sleep(3.5); print('spoke')")
        ends_late = host.container("import time; os.close(1); os.close(2); time.sleep(3.5)")
        for container in (speaks_late, ends_late):
            await container.start()
        for container in (speaks_late, ends_late):
            assert await container.wait() == "ended with exit code 0"
            await container.stop()
        assert host.lines == ["spoke"]

    run_scenario(scenario)


def test_the_kernel_ends_a_container_that_runs_out_of_memory(run_scenario: Run) -> None:
    async def scenario(host: Host) -> None:
        container = host.container("b = []\nwhile True: b.append(bytearray(os.urandom(2**20)))", memory_bytes=64 * MIB)
        await container.start()
        assert await container.wait() == "ran out of memory: the kernel killed it at 64 MiB (exit code 137)"
        await container.stop()

    run_scenario(scenario)


def test_a_container_that_others_kill_or_remove_has_ended(run_scenario: Run, engine: docker.DockerClient) -> None:
    async def scenario(host: Host) -> None:
        for act, words in (("kill", "was killed (exit code 137)"), ("remove", "was removed")):
            container = host.container(SLEEP)
            await container.start()
            (name,) = containers_of(engine, host.directory)
            theirs = engine.containers.get(name)
            theirs.kill() if act == "kill" else theirs.remove(force=True)
            assert await container.wait() == words
            await container.stop()

    run_scenario(scenario)


# Stopping


def test_a_container_that_heeds_sigterm_stops_at_once(run_scenario: Run) -> None:
    async def scenario(host: Host) -> None:
        handler = "import signal, sys\nsignal.signal(15, lambda *_: (print('goodbye'), sys.exit(7)))\nprint('up')\n"
        container = host.container(handler + SLEEP, limits=Limits(stop_seconds=600))
        await container.start()
        await host.line("up")
        await asyncio.gather(container.stop(), container.stop())
        assert host.lines == ["up", "goodbye"]
        assert await container.wait() == "ended with exit code 7"
        await container.stop()

    run_scenario(scenario)


def test_a_container_that_ignores_sigterm_is_killed_when_its_time_is_up(run_scenario: Run) -> None:
    async def scenario(host: Host) -> None:
        handler = "signal.signal(15, lambda *_: print('no'))\nprint('up')\n"
        container = host.container(handler + SLEEP, limits=Limits(stop_seconds=1))
        await container.start()
        await host.line("up")
        await container.stop()
        assert host.lines == ["up", "no"]
        assert await container.wait() == "was killed (exit code 137)"

    run_scenario(scenario)


@pytest.mark.parametrize("after", [0.0, 0.01, 0.05, 0.1, 0.2])
@pytest.mark.parametrize("by", ["cancel", "stop"])
def test_a_start_that_is_given_up_leaves_nothing(
    run_scenario: Run, engine: docker.DockerClient, after: float, by: str
) -> None:
    async def scenario(host: Host) -> None:
        await host.engine.info()
        container = host.container(SLEEP)
        starting = asyncio.create_task(container.start())
        await asyncio.sleep(after)
        if by == "cancel":
            starting.cancel()
        else:
            await container.stop()
        (failure,) = await asyncio.gather(starting, return_exceptions=True)
        if failure is None:  # it was over before
            assert after
            await container.stop()
        else:
            assert isinstance(failure, asyncio.CancelledError if by == "cancel" else ContainerError)
        assert containers_of(engine, host.directory) == []
        await container.stop()

    run_scenario(scenario)


def test_a_second_ctrl_c_removes_everything_at_once(run_scenario: Run, engine: docker.DockerClient) -> None:
    async def scenario(host: Host) -> None:
        handler = "signal.signal(15, lambda *_: print('no'))\nprint('up')\n"
        containers = [host.container(handler + SLEEP, limits=Limits(stop_seconds=600)) for _ in range(2)]
        await asyncio.gather(*(container.start() for container in containers))
        await until(lambda: host.lines.count("up") == 2)
        stops = [asyncio.create_task(container.stop()) for container in containers]
        await until(lambda: host.lines.count("no") == 2)
        host.engine.abandon()
        assert containers_of(engine, host.directory) == []
        await asyncio.gather(*stops)

    run_scenario(scenario)


# What cannot be started


async def failure(container: DockerContainer) -> str:
    with pytest.raises(SetupError) as caught:
        await container.start()
    await container.stop()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_image_without_the_labels_is_refused(run_scenario: Run, images: Images) -> None:
    image = images.build("unlabelled", FROM + PROGRAM)

    async def scenario(host: Host) -> None:
        label = "com.amazonaws.sagemaker.capabilities.multi-models=true"
        reason = await failure(host.container(SLEEP, image=image))
        assert reason.startswith(f"Your Ecr Image {image} does not contain required {label} Docker label(s).")
        assert f"`LABEL {label}`" in reason
        reason = await failure(host.container(SLEEP, image=image, multi_model=False, shares_instance=True))
        assert "accept-bind-to-port=true" in reason
        await host.reported(image=image, multi_model=False)

    run_scenario(scenario)


def test_what_cannot_be_run_is_explained(run_scenario: Run, images: Images) -> None:
    nothing = images.build("no-entry-point", FROM + MULTI_MODEL_LABEL)
    forbidden = images.build("forbidden", f'{FROM}{MULTI_MODEL_LABEL}ENTRYPOINT ["/etc/hostname"]\n')
    missing = images.build("missing-program", FROM + MULTI_MODEL_LABEL + 'ENTRYPOINT ["/opt/missing"]\n')

    async def scenario(host: Host) -> None:
        assert "no entry point, and no program `serve`" in await failure(host.container("", image=nothing))
        assert "its program may not be executed" in await failure(host.container("", image=forbidden))
        assert "/opt/missing" in await failure(host.container("", image=missing))
        assert "at least 6 MiB" in await failure(host.container(SLEEP, memory_bytes=1000))
        about = docker.from_env().info()
        if "nvidia" not in about.get("Runtimes", {}):
            assert "nvidia-container-toolkit" in await failure(host.container(SLEEP, gpus=-1))

    run_scenario(scenario)


def test_files_of_an_image_are_looked_at_without_running_it(run_scenario: Run, images: Images) -> None:
    script, large = "#!/bin/sh\r\nexit 1\r\n", "0" * MIB
    make = "ln -s ../local/bin/serve /usr/bin/linked; chmod 600 /usr/local/bin/large; mkdir -p -m 700 /opt/ml"
    dockerfile = f"{FROM}COPY serve large /usr/local/bin/\nRUN {make}\nUSER 1000\n"
    image = images.build("looked-at", dockerfile, {"serve": script, "large": large})

    async def scenario(host: Host) -> None:
        inspected = await host.engine.image(image)
        assert (inspected.user, inspected.architecture) == ("1000", "amd64")
        paths = ["/usr/bin/linked", "/usr/local/bin/large", "/opt/ml", "/none/at/all", "/usr/local/bin/serve/x"]
        linked, big, directory, *nothing = await look(host.engine, inspected, paths)
        assert linked and big and directory and nothing == [None, None]
        assert (linked.path, linked.beginning) == ("/usr/local/bin/serve", script.encode())
        assert big.mode == 0o600 and set(big.beginning) == {ord("0")} and not big.may("1000", 4)
        assert directory.is_directory and not directory.may(inspected.user, 1)
        assert host.lines == []

    run_scenario(scenario)


def test_an_entry_point_in_shell_form_is_warned_of_once(run_scenario: Run, images: Images) -> None:
    image = images.build("shell-form", FROM + MULTI_MODEL_LABEL + "ENTRYPOINT echo arguments: $@; nonsense\n")

    async def scenario(host: Host) -> None:
        for _ in range(2):
            container = host.container("", image=image)
            await container.start()
            assert await container.wait() == "ended with exit code 127: a program was not found"
            await container.stop()
        (warning,) = host.warnings
        assert "exec form" in warning
        assert "arguments:" in host.lines

    run_scenario(scenario)


def test_an_image_without_an_entry_point_may_have_a_program_serve(run_scenario: Run, images: Images) -> None:
    dockerfile = FROM + MULTI_MODEL_LABEL + "COPY serve /usr/local/bin/\n"
    image = images.build("program-serve", dockerfile, {"serve": "#!/bin/sh\necho this is $0\n"})

    async def scenario(host: Host) -> None:
        container = host.container("", image=image)
        await container.start()
        assert await container.wait() == "ended with exit code 0"
        assert host.lines == ["this is /usr/local/bin/serve"]
        await container.stop()

    run_scenario(scenario)


def test_a_container_need_not_run_as_root(run_scenario: Run, images: Images) -> None:
    """Whatever the modes of the model's files, and of the emulator's directories."""
    image = images.build("nobody", FROM + MULTI_MODEL_LABEL + "USER nobody\n" + PROGRAM)

    async def scenario(host: Host) -> None:
        host.directory.joinpath("models").mkdir(mode=0o700)
        many = host.container(SERVE, image=image)
        await many.start()
        await many.deliver(host.model("m", "one"))
        assert await fetch(many, "/models/m/model/weights.txt") == b"one"
        single = host.container(SERVE, image=image, multi_model=False, models=host.directory / "models" / "m" / "model")
        await single.start()
        assert await fetch(single, "/model/weights.txt") == b"one"
        for container in (many, single):
            await container.stop()

    run_scenario(scenario)
