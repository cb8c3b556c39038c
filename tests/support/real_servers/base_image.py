"""Makes the base of all test images, where no image can be pulled and containers cannot install from the internet.

It stands for ``python:3.11-slim`` with a package mirror: a small Debian with Python 3.11 and Java, and with every wheel
that the samples install, so that a Dockerfile's plain ``RUN pip install ...`` works.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import docker

from tests.support.real_servers.making import CACHE, NotProvisioned, apt_install, run

RELEASE = "bookworm"
PYTHON = "3.11"
PACKAGES = ("python3", "python3-pip", "libpython3.11", "ca-certificates", "openjdk-17-jre-headless")

# What the samples' and the Triton image's Dockerfiles install.
REQUIREMENTS = (
    "multi-model-server==1.1.11",
    "sagemaker-inference==1.10.1",
    "retrying",
    "setuptools<81",
    "numpy==1.26.4",
)
ONLY_AS_SOURCE = ("sagemaker-inference==1.10.1", "enum-compat")  # pure Python, so that any Python can build them
BARE_REQUIREMENTS = ("nvidia-pytriton==0.7.0",)  # without what they depend on

PIP_CONFIGURATION = """[global]
no-index = true
find-links = /wheels
break-system-packages = true
root-user-action = ignore
disable-pip-version-check = true
"""
NOT_NEEDED = (
    "var/cache/apt",
    "var/lib/apt/lists",
    "usr/share/doc",
    "usr/share/man",
    "usr/share/info",
    "usr/share/locale",
    "debootstrap",
)


def digest() -> str:
    """A short hash of what the image is made of: of this file, and of the machine's kind."""
    return hashlib.sha256(Path(__file__).read_bytes() + platform.machine().encode()).hexdigest()[:12]


def make(client: docker.DockerClient, repository: str, tag: str) -> None:
    """Make the image in an engine.

    Raises NotProvisioned when that cannot be done on this machine.
    """
    if not shutil.which("debootstrap"):
        needs_root = "the test images are made by debootstrap, which takes Debian or Ubuntu, and root"
        apt_install("debootstrap", "debian-archive-keyring", "gpgv", otherwise=needs_root)
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="base-image-", dir=CACHE) as directory:
        tree = Path(directory)
        # debootstrap works while pip downloads: neither waits much for what the other needs.
        with subprocess.Popen(
            ["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", RELEASE, str(tree)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        ) as debootstrap:
            try:
                gather_wheels(tree / "wheels")
            except BaseException:
                debootstrap.terminate()
                raise
        if debootstrap.returncode:
            raise NotProvisioned(f"debootstrap ended with {debootstrap.returncode}")
        for name in NOT_NEEDED:
            shutil.rmtree(tree / name, ignore_errors=True)
        (tree / "usr" / "bin" / "python").symlink_to("python3")
        (tree / "etc" / "pip.conf").write_text(PIP_CONFIGURATION)
        import_tree(client, tree, repository, tag)


def gather_wheels(wheels: Path) -> None:
    """Download or build a wheel of every requirement, and of what they depend on, for the image's Python."""
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    run([*pip, "wheel", "--no-deps", f"--wheel-dir={wheels}", *ONLY_AS_SOURCE])
    # The image's C library is 2.36.
    platforms = (f"manylinux_2_{minor}_{platform.machine()}" for minor in range(36, 16, -1))
    kind = [f"--python-version={PYTHON}", "--implementation=cp", "--only-binary=:all:"]
    download = [*pip, "download", f"--dest={wheels}", f"--find-links={wheels}", *kind, *each("--platform=", platforms)]
    run([*download, *REQUIREMENTS])
    run([*download, "--no-deps", *BARE_REQUIREMENTS])


def each(option: str, values: Iterable[str]) -> list[str]:
    """An option repeated for each value."""
    return [option + value for value in values]


def import_tree(client: docker.DockerClient, tree: Path, repository: str, tag: str) -> None:
    """Make an image of a directory."""
    command = ["tar", "--create", "--numeric-owner", f"--directory={tree}", "."]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as tar:
        assert tar.stdout is not None
        client.api.import_image_from_stream(tar.stdout, repository, tag, changes=['CMD ["python3"]'])
    if tar.returncode:
        raise NotProvisioned(f"tar ended with {tar.returncode}")
