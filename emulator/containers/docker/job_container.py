"""The container of a job: an image on a Docker Engine, which runs to its end.

Its ``/opt/ml`` is its own: what it finds there is put in before it starts, and what it leaves is taken out, through the
engine's API. So it can write to no file of this machine, whoever it runs as, and the engine may be anywhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import math
import secrets
import shutil
import signal
import tarfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, BinaryIO, cast

from emulator.containers.container import LogSink
from emulator.containers.docker.aws_network import ADDRESS, aws_variables
from emulator.containers.docker.configuration import host_configuration, host_name
from emulator.containers.docker.container import exists, final_state
from emulator.containers.docker.discovery import EngineInfo
from emulator.containers.docker.engine import Engine
from emulator.containers.docker.failures import EngineError, explain
from emulator.containers.docker.images import InspectedImage, in_ecr, repository
from emulator.containers.docker.log_stream import LogFeed, attach, read_lines
from emulator.containers.docker.tar_stream import packed
from emulator.containers.job_container import ML, JobContainer, JobContainerSettings
from emulator.containers.output_files import Kind, OutputFile
from emulator.containers.process.environment import past_proxies
from emulator.errors import ContainerError, SetupError

LAST_WORDS_SECONDS = 2.0  # for the output and the exit code of a container that was stopped
# [api] Go's bits: of a directory, a link, a device, a pipe, a socket, and of anything else that is no file.
DIRECTORY, FILE = 1 << 31, 0
NO_FILE = DIRECTORY | 1 << 27 | 1 << 26 | 1 << 25 | 1 << 24 | 1 << 19
KILLED = 137  # exit code of a container that was ended by SIGKILL


class DockerJobContainer(JobContainer):
    """One run of an image."""

    def __init__(
        self,
        engine: Engine,
        reference: str,
        settings: JobContainerSettings,
        entrypoint: Sequence[str],
        arguments: Sequence[str],
        log: LogSink,
        warn: Callable[[str], None],
    ) -> None:
        """``reference`` names the image, see ``Engine.image``; an empty ``entrypoint`` is the image's own."""
        super().__init__(settings)
        self._engine, self._reference = engine, reference
        self._entrypoint, self._arguments = entrypoint, arguments
        self._log, self._warn = log, warn
        self._name = ""
        self._exited: asyncio.Future[int] | None = None

    async def start(self) -> None:
        try:
            image = await self._image()
            info = await self._engine.info()
            await self._launch(image, info)
        except ContainerError as error:
            raise SetupError(str(error)) from None

    async def _image(self) -> InspectedImage:
        """Raises SetupError, which says what can run in place of an image of AWS's."""
        try:
            return await self._engine.image(self._reference)
        except SetupError as error:
            ecr = in_ecr(self._reference)
            if ecr is None or ecr[0].is_ours:
                raise
            name = repository(ecr[1])
            raise SetupError(
                f"{error} Or have something else run in its place: --map-image '*/{name}*=script' runs your own entry "
                "point by a Python of this machine, command:WORDS any program."
            ) from None

    async def _launch(self, image: InspectedImage, info: EngineInfo) -> None:
        self._name = f"localmme-{host_name(self.settings.name).lower()}-{secrets.token_hex(4)}"
        self._exited = asyncio.get_running_loop().create_future()
        try:
            aws = await aws_variables(self._engine, info, self.settings.aws, self._warn)
            await self._engine.create(self._name, self._configuration(image, info, aws))
            await self._engine.call(self._put_in)
            # Not twice on the disk, and not there when the emulator is killed.
            await asyncio.to_thread(shutil.rmtree, self.settings.ml_directory, ignore_errors=True)
            await self._follow(self._exited)
            if "AWS_ENDPOINT_URL" in aws:
                await self._engine.aws_network.connect(self._name)
                await self._engine.aws_network.start(self._name)
            else:
                await self._engine.call(lambda client: client.start(self._name))
        except EngineError as error:
            raise explain(error, image) from None

    def _configuration(self, image: InspectedImage, info: EngineInfo, aws: Mapping[str, str]) -> dict[str, Any]:
        settings = self.settings
        environment = {**aws, **settings.environment}
        environment |= past_proxies(environment, [ADDRESS])
        configuration = {
            "Image": image.id,
            "Cmd": list(self._arguments),
            "Hostname": settings.host_name,
            "Env": [f"{name}={value}" for name, value in environment.items()],
            "HostConfig": host_configuration(settings, info),
        }
        return configuration | ({"Entrypoint": list(self._entrypoint)} if self._entrypoint else {})

    def _put_in(self, client: Any) -> None:
        parent = PurePosixPath(ML).parent
        missing = [] if exists(client, self._name, parent) else [str(parent)[1:]]
        client.put_archive(self._name, "/", packed(missing, self.settings.ml_directory, ML[1:], writable=True))

    async def _follow(self, exited: asyncio.Future[int]) -> None:
        """Attach to its output, which is before it starts, so that nothing is missed."""
        container = self._name
        response = await self._engine.call(lambda client: attach(client, container))
        loop = asyncio.get_running_loop()
        feed = LogFeed(loop, self._log)

        def note_end(code: int) -> None:
            if not exited.done():
                exited.set_result(code)

        def follow() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                with response:
                    for lines in read_lines(response.raw._fp.fp):
                        feed.put(lines)
                loop.call_soon_threadsafe(note_end, _exit_code(self._engine, container))

        threading.Thread(target=follow, name=f"docker-{container[:12]}", daemon=True).start()

    async def wait(self) -> int:
        assert self._exited is not None
        return await asyncio.shield(self._exited)

    async def stop(self, seconds: float) -> None:
        if self._exited is None or self._exited.done():
            return
        whole = math.ceil(seconds)  # the engine takes whole ones
        with contextlib.suppress(SetupError):
            await self._engine.call(lambda client: client.stop(self._name, timeout=whole))
        await asyncio.wait([self._exited], timeout=LAST_WORDS_SECONDS)

    async def remove(self) -> None:
        if self._name:
            with contextlib.suppress(SetupError):  # the engine has gone
                await self._engine.remove(self._name)
        if self._exited is not None and not self._exited.done():
            self._exited.set_result(-signal.SIGKILL)

    def output(self, path: str) -> Iterator[OutputFile]:
        for member, content in self._members(path, DIRECTORY):
            _, _, name = member.name.partition("/")  # the first one is that of the directory
            if member.islnk():  # another name of a file that has passed
                for linked, its_content in self._members(f"{path}/{name}", FILE):
                    yield _output_file(name, linked, its_content)
            elif name and (member.isreg() or member.isdir() or member.issym()):
                yield _output_file(name, member, content)

    def _members(self, path: str, kind: int) -> Iterator[tuple[tarfile.TarInfo, BinaryIO | None]]:
        """What there is below ``/opt/ml/PATH``, if that is a file or a directory, as ``kind`` says."""
        pieces = self._engine.call_blocking(lambda client: _pieces(client, self._name, f"{ML}/{path}", kind))
        if pieces is None:
            return
        with pieces, tarfile.open(fileobj=cast(BinaryIO, io.BufferedReader(pieces)), mode="r|") as archive:
            for member in archive:
                yield member, cast(BinaryIO, archive.extractfile(member)) if member.isreg() else None


def _output_file(name: str, member: tarfile.TarInfo, content: BinaryIO | None) -> OutputFile:
    kind: Kind = "file" if content is not None else "link" if member.issym() else "directory"
    mode, modified = member.mode & 0o7777, float(member.mtime)
    return OutputFile(name, kind, mode, modified, member.size, member.linkname, content)


def _pieces(client: Any, container: str, path: str, kind: int) -> _Pieces | None:
    """A file or directory of a container as a tar archive; None if it has none of that kind there."""
    from docker.errors import NotFound

    try:
        pieces, about = client.get_archive(container, path)
    except NotFound:
        return None
    return _Pieces(pieces) if about["mode"] & NO_FILE == kind else None


class _Pieces(io.RawIOBase):
    """Bytes that come in pieces, as a file."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        super().__init__()
        self._pieces, self._rest = pieces, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._rest:
            self._rest = next(self._pieces, b"")
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count


def _exit_code(engine: Engine, container: str) -> int:
    """Wait until it has ended. Blocks."""
    try:
        code = int(final_state(engine, container)["ExitCode"])
    except ContainerError:
        return -signal.SIGKILL
    return -signal.SIGKILL if code == KILLED else code
