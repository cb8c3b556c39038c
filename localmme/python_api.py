"""``localmme.serve``: an emulator for a Python program, as a child process that ends with the program."""

from __future__ import annotations

import atexit
import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias, TypeVar

from emulator.errors import SetupError
from emulator.state import EmulatorState, ModelState
from emulator.state_directory import StateDirectory
from localmme import state_directories
from localmme.options import command_line
from localmme.pages import page
from localmme.request_data import guess_content_type
from localmme.serve_process import ServeError, end, last_words, launch, log_of, wait_in_service

if TYPE_CHECKING:
    from localmme.faults import Fault
    from localmme.recorded_calls import Call

T = TypeVar("T")
StrPath: TypeAlias = "str | os.PathLike[str]"

STATE_POLL_SECONDS = 0.05
STARTING_ENDS_WITHIN_SECONDS = 60.0  # for an emulator that has not reported its own figure yet


def serve(
    file: StrPath | None = None,
    *,
    models: StrPath | None = None,
    unpacked: bool = False,
    handler: StrPath | None = None,
    toolkit: str | None = None,
    command: str | Sequence[str] | None = None,
    image: str | None = None,
    map_images: Mapping[str, str] | None = None,
    gpus: str | int | None = None,
    s3: StrPath | None = None,
    s3_read_through: str | Sequence[str] = (),
    access: StrPath | None = None,
    stub: StrPath | None = None,
    endpoint: bool = True,
    endpoint_name: str | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    allow_hosts: str | Sequence[str] = (),
    allow_origins: str | Sequence[str] = (),
    local_code: bool | None = None,
    instance_type: str | None = None,
    instances: int | None = None,
    memory: str | None = None,
    storage: str | None = None,
    max_loaded_models: int | None = None,
    workers_per_model: int | None = None,
    cache: bool = True,
    reload: bool = False,
    preload: str | Sequence[str] = (),
    preloading: bool = True,
    python: StrPath | None = None,
    install_requirements: bool = False,
    debug: int | None = None,
    env: Mapping[str, str] | None = None,
    inherit_env: bool = False,
    limits: Mapping[str, float] | None = None,
    record: StrPath | None = None,
    record_bodies: bool = False,
    record_size: str | None = None,
    otel: bool | None = None,
    show_polls: bool = False,
    metrics_models: int | None = None,
    state_dir: StrPath | None = None,
    startup_timeout_seconds: float = 300.0,
) -> Emulator:
    """Start an emulator, and return when its endpoints are InService.

    The arguments are the options of ``localmme serve``, where they are described; relative paths start from the
    working directory. These differ from the options:

    ``endpoint=False`` is ``--no-endpoint``, ``cache=False`` is ``--no-cache``, ``local_code=False`` is
    ``--no-local-code``, ``preloading=False`` is ``--no-preload``; ``command`` may be a list of words; ``env`` is the
    container's environment; ``limits`` are such as ``{"invocation_seconds": 5}``. ``port=0`` is any free port. Without
    ``state_dir``, its files are in a temporary directory, which is removed with it.

    The emulator is a process of its own. It ends with ``stop``, at the end of a ``with`` block, and when this program
    ends, however it ends.

    Raises ServeError, with its last lines of log, when it is not InService after ``startup_timeout_seconds`` or has
    ended; and SetupError when its directory cannot be used. It has been stopped then, as after a KeyboardInterrupt.
    """
    arguments = {**locals(), "state_dir": None}  # of which each option finds its own
    words = [*command_line(arguments), "--until-eof", *(["--", os.fspath(file)] if file is not None else [])]
    directory = StateDirectory(Path(state_dir).expanduser().absolute()) if state_dir else None
    emulator = _launched(words, directory)
    try:
        emulator._wait_in_service(startup_timeout_seconds)
    except BaseException:
        emulator.stop()
        raise
    return emulator


class Emulator:
    """A running emulator, made by ``serve``. In a ``with`` statement it is stopped at the end of the block."""

    url: str
    """Its address, such as ``http://127.0.0.1:40123``."""

    def __init__(
        self, process: subprocess.Popen[bytes], state_directory: StateDirectory, owner: IO[str] | None
    ) -> None:
        """Use ``serve``. ``owner`` is the lock of a temporary directory; None = it is not one."""
        self.url = ""
        self._region = ""
        self._endpoint_name = ""
        self._ends_within_seconds = STARTING_ENDS_WITHIN_SECONDS
        self._stopping = threading.RLock()  # a signal handler may stop it as well
        self._log: str | None = None  # once it is stopped
        self._runtime: Any = None
        self._calls_since = 0
        self._has_faults = False
        self._program = os.getpid()
        self._process, self._directory, self._owner = process, state_directory, owner
        _running.add(self)

    def __enter__(self) -> Emulator:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<localmme.Emulator {self.url or 'starting'}{'' if self.is_running else ', stopped'}>"

    def _repr_html_(self) -> str:
        """Its state, for a notebook."""
        from localmme.tables import state

        return state(self.state)._repr_html_()

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Its state, for IPython without HTML."""
        from localmme.tables import state

        printer.text(str(state(self.state)))

    @property
    def is_running(self) -> bool:
        """Whether its process runs."""
        return self._log is None and self._process.poll() is None

    @property
    def state_directory(self) -> Path:
        """The directory of its files, such as the containers' logs below ``logs``."""
        return self._directory.path

    @property
    def endpoint_name(self) -> str:
        """The name of its endpoint, or of the first of several. Raises ServeError when it has no endpoint."""
        if not self._endpoint_name:  # the state takes time: it lists what is in S3
            endpoints = self.state()["endpoints"]
            if not endpoints:
                raise ServeError(f"The emulator at {self.url} has no endpoint. Create one through the API.")
            self._endpoint_name = endpoints[0]["endpoint_name"]
        return self._endpoint_name

    def client(self, service_name: str, **arguments: Any) -> Any:
        """A boto3 client for the emulator, with its address, its region and placeholder credentials.

        The user's own AWS settings (variables, profiles, proxies) do not count. It calls once, without retries, and
        waits for an answer for up to 600 s. ``arguments`` are those of ``boto3.client``, and replace these. Raises
        boto3's exceptions for a service that it does not know.
        """
        from localmme.boto3_session import client

        return client(service_name, self.url, self._region, **arguments)

    def invoke(self, target_model: str | None, body: bytes | str, **arguments: Any) -> bytes:
        """Invoke a model, and return the response's body. ``None`` as the model is for a single-model endpoint.

        ``arguments`` are InvokeEndpoint's, such as ``ContentType="text/csv"`` or ``EndpointName``, which is otherwise
        ``endpoint_name``. A missing ContentType is detected from the body, as by ``localmme invoke``: JSON or bytes;
        boto3 itself would send none, and handlers that decode by it refuse that. Raises boto3's ClientError, such as
        ModelError, when it is refused or fails.
        """
        if self._runtime is None:
            self._runtime = self.client("sagemaker-runtime")
        if "EndpointName" not in arguments:
            arguments["EndpointName"] = self.endpoint_name
        if "ContentType" not in arguments:
            arguments["ContentType"] = guess_content_type("", body if isinstance(body, bytes) else str(body).encode())
        if target_model is not None:
            arguments["TargetModel"] = target_model
        answered: bytes = self._runtime.invoke_endpoint(Body=body, **arguments)["Body"].read()
        return answered

    def state(self) -> EmulatorState:
        """The emulator's state, from its page ``/_localmme/state``: endpoints, instances, models.

        With ``access``, the request is signed with the user's AWS credentials. Raises ServeError when the emulator does
        not run, and PageRefused, a SetupError, when these credentials do not allow it.
        """
        found: EmulatorState = self._ask(lambda: page(self.url, "state"))
        return found

    def models(self) -> list[ModelState]:
        """The models of the endpoint (the first of several): where each is, and how often it was used."""
        endpoints = self.state()["endpoints"]
        return endpoints[0]["models"] if endpoints else []

    def wait_until(self, predicate: Callable[[EmulatorState], Any], timeout_seconds: float = 30.0) -> EmulatorState:
        """Wait until ``predicate(state())`` is true, and return that state.

        Raises TimeoutError, with the last state, when it was not after so many seconds, and ServeError when the
        emulator has ended.
        """
        deadline = time.monotonic() + timeout_seconds
        while True:
            state = self.state()
            if predicate(state):
                return state
            if time.monotonic() > deadline:
                raise TimeoutError(f"The predicate was not true within {timeout_seconds:g} s. The last state: {state}")
            time.sleep(STATE_POLL_SECONDS)

    def open(self) -> None:
        """Open its page in the user's browser, and print the address, as ``localmme open`` does. Raises SetupError."""
        from localmme import browser

        browser.show(self.url)

    def calls(self, model: str | None = None, endpoint: str | None = None, since: int | None = None) -> list[Call]:
        """The calls that its endpoints have had, in order: what reached the containers, and what came of it.

        ``model`` is a TargetModel, or a pattern such as ``europe/*``; ``since`` is the ``sequence`` of a call, after
        which they came; by default, all since ``clear_calls``. The latest 4,000 are kept. Raises as ``state``.
        """
        from localmme.recorded_calls import read_calls

        return self._ask(lambda: read_calls(self.url, model, endpoint, self._calls_since if since is None else since))

    def clear_calls(self) -> None:
        """From now on, ``calls`` has later calls only. Raises as ``state``."""
        from localmme.recorded_calls import latest_sequence

        self._calls_since = self._ask(lambda: latest_sequence(self.url))

    def fault(
        self,
        name: str,
        *,
        times: int | None = None,
        model: str | None = None,
        endpoint: str | None = None,
        **options: Any,
    ) -> Fault:
        """Make the next ``times`` calls fail, wait or break off; None = all, until it is cleared.

        ``name`` is a code of AWS's errors, such as ``ThrottlingException``, or ``Latency`` (with ``seconds``,
        ``jitter_seconds``) or ``ConnectionCut``; ``model`` is a TargetModel, or a pattern such as ``europe/*``.
        ``options`` are ``message``, ``status`` (the container's, of a ModelError) and ``chunks`` (of a stream, before
        it breaks off). Used in a ``with`` statement, it is cleared at the end of the block.

        Raises SetupError when that is no fault, and ServeError when the emulator does not run.
        """
        from localmme.faults import inject

        members = {"times": times, "target_model": model, "endpoint_name": endpoint, **options}
        self._has_faults = True
        return self._ask(lambda: inject(self.url, self._directory, name, members))

    def clear_faults(self) -> None:
        """No call meets a fault any more. Raises ServeError when the emulator does not run."""
        from localmme.pages import act

        self._ask(lambda: act(self.url, "clear-faults", {}, directory=self._directory))
        self._has_faults = False

    def logs(self) -> str:
        """Its log so far, including the containers' output; also after its end."""
        return self._log if self._log is not None else log_of(self._directory)

    def environment(self) -> dict[str, str]:
        """Variables with which AWS clients in another process use this emulator, whatever else is set there.

        On their PATH, ``docker`` knows the emulator's ECR.
        """
        from localmme.aws_environment import emulator_environment
        from localmme.engine_cli import launchers

        return emulator_environment(self.url, self._region, launchers.write(self._directory))

    def stop(self) -> None:
        """Stop it, with its containers, and wait until they are gone; remove its temporary directory.

        Invocations under way have ``drain_seconds`` (a limit, 5 s) to end. May be called twice. In a process forked
        from the one that called ``serve``, it does nothing.
        """
        if os.getpid() != self._program:
            return
        # If this is interrupted, the emulator still ends by itself.
        if self._owner is not None:
            with contextlib.suppress(OSError):  # stopped before, or its disk is full
                self._directory.owner_stops.touch()
        _close(self._process.stdin)
        with self._stopping:
            if self._log is None:
                end(self._process.pid, self._directory, self._ends_within_seconds)
                self._process.wait()
                self._log = log_of(self._directory)
                _discard(self._directory, self._owner)
                _running.discard(self)

    def _wait_in_service(self, timeout_seconds: float) -> None:
        record = wait_in_service(self._process, self._directory, timeout_seconds)
        self.url, self._region = record.url, record.region
        self._ends_within_seconds = record.ends_within_seconds

    def _ask(self, request: Callable[[], T]) -> T:
        """What a request to its pages returns. Raises ServeError when the emulator does not answer it."""
        try:
            return request()
        except OSError as error:
            if not self.is_running:
                raise ServeError(self._last_words("The emulator has ended")) from None
            raise ServeError(f"The emulator at {self.url} does not answer: {error}.") from None

    def _last_words(self, otherwise: str) -> str:
        if self._log is not None:
            return "The emulator was stopped."
        return last_words(self._directory, otherwise)

    def _forget_in_fork(self) -> None:
        # A fork that lives longer than this program must not keep the emulator alive.
        _close(self._process.stdin)
        _close(self._owner)


_running: set[Emulator] = set()


def _launched(arguments: list[str], directory: StateDirectory | None) -> Emulator:
    """An emulator whose process has been started, without waiting. None = in a temporary directory."""
    owner = None
    if directory is None:
        directory, owner = state_directories.make_temporary()
    try:
        return Emulator(launch(arguments, directory, subprocess.PIPE), directory, owner)
    except BaseException:
        _discard(directory, owner)
        raise


def _discard(directory: StateDirectory, owner: IO[str] | None) -> None:
    """Let a directory go: it is removed if it is temporary."""
    if owner is not None:
        directory.remove()
    _close(owner)


def _close(pipe: IO[Any] | None) -> None:
    if pipe is not None:
        with contextlib.suppress(OSError):
            pipe.close()


def _stop_all() -> None:
    for emulator in list(_running):
        with contextlib.suppress(SetupError):
            emulator.stop()


def _forget_all_in_fork() -> None:
    for emulator in _running:
        emulator._forget_in_fork()
    _running.clear()


atexit.register(_stop_all)
os.register_at_fork(after_in_child=_forget_all_in_fork)
