"""What ``localmme check`` finds of an image before it is run."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from unittest.mock import Mock

import pytest

from emulator.containers.docker.image_files import ImageFile
from emulator.containers.docker.images import InspectedImage
from localmme.check.finding import CheckEnded, Finding
from localmme.check.suite import image as suite


def found(
    check: Callable[[Any], Awaitable[Finding]],
    monkeypatch: pytest.MonkeyPatch,
    files: dict[str, ImageFile],
    **about: Any,
) -> tuple[str, str]:
    """The verdict and the detail, of an image with these files."""

    async def look(engine: object, image: InspectedImage, paths: list[str]) -> list[ImageFile | None]:
        return [files.get(path) for path in paths]

    async def run() -> Finding:
        return await check(Mock(under_test=Mock(image=InspectedImage("sha256:1", "mme", **about))))

    monkeypatch.setattr(suite, "look", look)
    finding = asyncio.run(run())
    return finding.verdict.value, finding.detail


def file(path: str, mode: int = 0o755, content: bytes = b"\x7fELF", *, directory: bool = False) -> dict[str, ImageFile]:
    return {path: ImageFile(path, mode, 0, directory, content)}


@pytest.mark.parametrize(
    "entrypoint, files, verdict, words",
    [
        ((), file("/bin/serve"), "pass", "/bin/serve"),
        ((), file("/bin/serve", content=b"#!/bin/sh\nexec x\r\n"), "pass", "/bin/serve"),
        ((), {}, "fail", "no program `serve` on its PATH"),
        ((), file("/bin/serve", directory=True), "fail", "no program `serve` on its PATH"),
        (
            (),
            file("/app/bin/serve", 0o644),
            "fail",
            "/app/bin/serve may not be executed by anybody.",
        ),
        ((), {**file("/app/bin/serve", 0o644), **file("/bin/serve")}, "pass", "/bin/serve"),
        (("./run.sh", "x"), file("/app/./run.sh", content=b"#!/bin/sh\r\n"), "fail", "end as in Windows (CRLF)"),
        (("/none",), {}, "fail", "begins with /none, and there is no such program"),
        (("python", "serve.py"), file("/bin/python"), "pass", "/bin/python"),
    ],
)
def test_the_program_is_found_and_can_be_executed(
    monkeypatch: pytest.MonkeyPatch,
    entrypoint: tuple[str, ...],
    files: dict[str, ImageFile],
    verdict: str,
    words: str,
) -> None:
    about = {"entrypoint": entrypoint, "path": "/app/bin:/bin", "working_directory": "/app"}
    result = found(suite.program, monkeypatch, files, **about)
    assert result[0] == verdict and words in result[1]


@pytest.mark.parametrize(
    "user, files, verdict",
    [
        ("", file("/opt/ml", 0o700, directory=True), "pass"),
        ("1000", {}, "pass"),
        ("1000", file("/opt/ml", 0o755, directory=True), "pass"),
        ("1000", file("/opt/ml", 0o711, directory=True), "fail"),
        ("1000", file("/opt", 0o700, directory=True), "fail"),
    ],
)
def test_its_user_can_read_what_is_mounted(
    monkeypatch: pytest.MonkeyPatch, user: str, files: dict[str, ImageFile], verdict: str
) -> None:
    assert found(suite.user, monkeypatch, files, user=user)[0] == verdict


def test_its_platform_manifest_and_size_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(suite.architecture, monkeypatch, {}, architecture="arm64")[0] == "warn"
    assert found(suite.architecture, monkeypatch, {}, architecture="amd64") == ("pass", "amd64")
    assert found(suite.manifest, monkeypatch, {}, media_type="application/vnd.oci.image.manifest.v1+json")[0] == "fail"
    assert found(suite.manifest, monkeypatch, {}, size_bytes=2**40)[0] == "warn"
    assert found(suite.manifest, monkeypatch, {})[0] == "pass"


def test_what_is_no_image_is_left_out() -> None:
    with pytest.raises(CheckEnded, match="check one with --image"):
        asyncio.run(suite.program(Mock(under_test=Mock(image=None))))
