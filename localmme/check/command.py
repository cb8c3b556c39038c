"""Runs ``localmme check``: from its options to its report and exit code."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from emulator.containers.docker.engine import Engine
from emulator.containers.launch import Program
from emulator.errors import SetupError
from emulator.events import Events, ImagePulling
from emulator.limits import Limits
from emulator.printable import printable_lines
from emulator.services.sagemaker.image import command_of, embedded_server, image_of
from emulator.sizes import parse_size
from localmme.check import report
from localmme.check.checks import Check, chosen
from localmme.check.container_under_test import ContainerUnderTest, RunningContainer
from localmme.check.finding import Verdict
from localmme.check.harness import Harness, Sample
from localmme.check.models import Models
from localmme.check.runner import Result, Runner
from localmme.check.working_directory import WorkingDirectory, working_directory
from localmme.options import name_and_value
from localmme.request_data import guess_content_type, read_data

DEFAULT_BODY, DEFAULT_CONTENT_TYPE = b"{}", "application/json"
SOME_FAILED, COULD_NOT_RUN, INTERRUPTED = 1, 2, 128  # exit codes; to the last, the signal's number is added
# [ours] In which a container of --url has to answer: it is not started now, so that there is little to wait for.
RUNNING_STARTUP_SECONDS = 10.0
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def check(
    *,
    image: str | None,
    command: str | None,
    handler: str | None,
    url: str | None,
    models: Sequence[str],
    data: str | None,
    content_type: str | None,
    accept: str | None,
    environment: Sequence[str],
    inherit_env: bool,
    memory: str,
    timeout: float | None,
    limits: Sequence[str],
    only: str | None,
    fast: bool,
    list_only: bool,
    as_json: bool,
    junit: str | None,
) -> int:
    """Make the checks, and return the exit code.

    0 = no check failed, 1 = at least one failed, 2 = they could not be made, 128 + N = signal N ended them.
    """
    try:
        checks = chosen(only, fast)
        if list_only:
            report.print_list(checks)
            return 0
        archives = _archives(models)
        sample = _sample(data, content_type, accept)
        with working_directory() as working, _display(as_json) as display:
            configured = Limits().override(list(limits))
            events = Events()
            events.subscribe(lambda event, _: display.say(_pulling(event)) if isinstance(event, ImagePulling) else None)
            engine = Engine(working.path, events)
            under_test = _container_under_test(
                image, command, handler, url, environment, inherit_env, memory, working.path, engine
            )
            longest = min(configured.startup_seconds, RUNNING_STARTUP_SECONDS) if url else configured.startup_seconds
            under_test.limits = replace(configured, startup_seconds=timeout or longest)
            results, interrupted_by = asyncio.run(_run(checks, under_test, archives, sample, working, display))
            if display.printer:
                display.printer.end(bool(interrupted_by), len(checks))
        if junit:
            report.write_junit(results, Path(junit))
    except SetupError as error:
        print(f"Error: {printable_lines(str(error))}", file=sys.stderr)
        return COULD_NOT_RUN
    except KeyboardInterrupt:  # before anything was started
        print("Interrupted; nothing is left running.", file=sys.stderr)
        return INTERRUPTED + signal.SIGINT
    except BrokenPipeError:  # the reader of the report has gone
        raise
    except Exception:  # a bug in the checks, which says nothing about the container
        traceback.print_exc()
        print("Error: a check failed inside localmme.", file=sys.stderr)
        return COULD_NOT_RUN
    if as_json:
        print(report.as_json(results, bool(interrupted_by)))
    if interrupted_by:
        print("Interrupted; nothing is left running.", file=sys.stderr)
        return INTERRUPTED + interrupted_by
    return SOME_FAILED if any(result.finding.verdict is Verdict.FAIL for result in results) else 0


async def _run(
    checks: Sequence[Check],
    under_test: ContainerUnderTest,
    archives: Sequence[Path],
    sample: Sample,
    working: WorkingDirectory,
    display: Display,
) -> tuple[list[Result], int]:
    """The results, and the number of the signal that has ended the checks; 0 = none."""
    loop = asyncio.get_running_loop()
    models = Models(archives, under_test.models, working.path / "archives")

    def begins(check: Check, number: int) -> None:
        display.say(f"{check.name} ({number} of {len(checks)})")

    def found(result: Result) -> None:
        if display.printer:
            display.printer.found(result)

    harness = Harness(under_test, models, sample)
    runner = Runner(checks, harness, begins, found)
    task = asyncio.create_task(_prepare_and_run(runner, harness, working, display))
    caught: list[int] = []

    def interrupt(number: int) -> None:
        if not caught:  # a second signal would interrupt the cleanup
            caught.append(number)
            display.say("stopping the container")
            task.cancel()

    for number in SIGNALS:
        loop.add_signal_handler(number, interrupt, number)
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()  # raises the exception, if any
    return runner.results, caught[0] if caught else 0


async def _prepare_and_run(runner: Runner, harness: Harness, working: WorkingDirectory, display: Display) -> None:
    """Prepare the container, the models and the sample, and make the checks."""
    under_test = harness.under_test
    try:
        if working.left_containers:
            with contextlib.suppress(SetupError):  # perhaps on another engine
                await under_test.engine.sweep()
        display.say("preparing the container")
        await under_test.prepare()
        display.say("extracting the models")
        await asyncio.to_thread(harness.models.extract)
        harness.sample = _sample_of(harness.models, harness.sample)
        await runner.run()
    finally:
        await under_test.engine.close()


def _container_under_test(
    image: str | None,
    command: str | None,
    handler: str | None,
    url: str | None,
    environment: Sequence[str],
    inherit_env: bool,
    memory: str,
    directory: Path,
    engine: Engine,
) -> ContainerUnderTest:
    if sum(map(bool, (image, command, handler, url))) > 1:
        raise SetupError("--image, --command, --handler and --url exclude each other: each names a container.")
    variables = dict(name_and_value("--env", text) for text in environment)
    if url:
        RunningContainer(url)  # raises for an invalid address
        if variables:
            raise SetupError("--env is for a container that is started here, not for one at --url.")
    return ContainerUnderTest(
        runs=None if url else _runs(image, command, handler),
        url=url or "",
        environment=variables,
        inherit_env=inherit_env,
        memory_bytes=parse_size(memory),
        directory=directory,
        limits=Limits(),
        engine=engine,
    )


def _archives(models: Sequence[str]) -> list[Path]:
    if not models:
        raise SetupError("Give a model that the container can load: --model model.tar.gz.")
    archives = [Path(model).expanduser() for model in models]
    for archive in archives:
        if not archive.is_file():
            raise SetupError(f"There is no model archive {archive}. --model takes a file, such as model.tar.gz.")
    return archives


def _sample(data: str | None, content_type: str | None, accept: str | None) -> Sample:
    if data is None:
        return Sample(DEFAULT_BODY, content_type or DEFAULT_CONTENT_TYPE, accept or "", by_user=False)
    body = read_data(data)
    return Sample(body, content_type or guess_content_type(data, body), accept or "", by_user=True)


def _sample_of(models: Models, sample: Sample) -> Sample:
    """The sample; that of the models themselves, where the user has set none."""
    example = models.example()
    if sample.by_user or example is None:
        return sample
    return replace(sample, body=example, content_type=DEFAULT_CONTENT_TYPE, by_user=True)


def _runs(image: str | None, command: str | None, handler: str | None) -> Program:
    if image:
        return image_of(image)
    if command:
        return command_of(command)
    return replace(embedded_server(handler), takes_socket=False)  # its port is checked like that of other containers


def _pulling(event: ImagePulling) -> str:
    return f"pulling {event.image}: {event.fraction:.0%}"


@dataclass(frozen=True)
class Display:
    """Where progress and results are shown."""

    say: Callable[[str], None]  # what is being done
    printer: report.Printer | None  # of the results; None = they are printed as JSON at the end


@contextmanager
def _display(as_json: bool) -> Iterator[Display]:
    """Results go to standard output. The current check and its duration are shown in a terminal only."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    class Output(Console):
        def on_broken_pipe(self) -> None:  # rich's own raises SystemExit, which breaks off the event loop
            raise BrokenPipeError

    out, err = Output(highlight=False), Console(stderr=True)
    printer = None if as_json else report.Printer(out)
    console = out if printer else err  # the progress line must not mix with results in a file
    if not console.is_terminal:
        yield Display(lambda text: None, printer)
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=None)
        yield Display(lambda text: progress.reset(task, description=text), printer)
