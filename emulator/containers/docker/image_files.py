"""Looks at files of an image: in a container that is created and never started, through the engine's API."""

from __future__ import annotations

import contextlib
import io
import posixpath
import secrets
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass

from emulator.containers.docker.engine import Engine
from emulator.containers.docker.images import Client, InspectedImage

BEGINNING = 16 * 1024  # bytes of an archive: its header, and the beginning of a file
MOST_LINKS = 10
NOT_FOUND = 404
NOT_A_DIRECTORY = b"not a directory"  # what engines say, with status 500, of a path below a file


@dataclass(frozen=True)
class ImageFile:
    """A file or a directory of an image."""

    path: str  # after its symbolic links
    mode: int  # its permissions
    owner: int  # the user's id
    is_directory: bool
    beginning: bytes = b""

    def may(self, user: str, bit: int) -> bool:
        """Whether a user, as an image names it, has that permission (4 = to read, 1 = to execute).

        Of a user by name, as of a group, it is not known whether it is the file's own: then either will do.
        """
        name = user.partition(":")[0]
        if name in ("", "0", "root"):
            return bool(self.mode & 0o111) if bit == 1 and not self.is_directory else True
        if name.isdecimal() and int(name) == self.owner:
            return bool(self.mode & bit << 6)
        return bool(self.mode & (bit | bit << 3 | (0 if name.isdecimal() else bit << 6)))


async def look(engine: Engine, image: InspectedImage, paths: Sequence[str]) -> list[ImageFile | None]:
    """What is at each path, in order; None = nothing. Raises SetupError when the engine cannot say."""
    name = f"localmme-look-{secrets.token_hex(4)}"
    try:
        await engine.create(name, {"Image": image.id, "Cmd": ["serve"]})
        return await engine.call(lambda client: [_found(client, name, path) for path in paths])
    finally:
        await engine.remove(name)


def _found(client: Client, container: str, path: str) -> ImageFile | None:
    for _ in range(MOST_LINKS):
        beginning = _archive(client, container, path)
        if beginning is None:
            return None
        with tarfile.open(fileobj=io.BytesIO(beginning), mode="r|") as archive:
            member = archive.next()
            if member is None:
                return None
            if not member.issym():
                content = archive.extractfile(member) if member.isfile() else None
                begins = content.read(min(member.size, BEGINNING // 4)) if content else b""
                return ImageFile(path, member.mode & 0o7777, member.uid, member.isdir(), begins)
            path = posixpath.normpath(posixpath.join(posixpath.dirname(path), member.linkname))
    return None


def _archive(client: Client, container: str, path: str) -> bytes | None:
    """The beginning of the archive of a path, however large it is; None = there is no such path."""
    url = f"{client.base_url}/v{client.api_version}/containers/{container}/archive"
    # Of a compressed archive, the first bytes may be of any number.
    as_it_is = {"Accept-Encoding": "identity"}
    with contextlib.closing(client.get(url, params={"path": path}, headers=as_it_is, stream=True)) as response:
        if response.status_code == NOT_FOUND or (not response.ok and NOT_A_DIRECTORY in response.content):
            return None
        response.raise_for_status()
        beginning: bytes = response.raw.read(BEGINNING)
        return beginning
