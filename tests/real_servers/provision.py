"""Makes, once per machine, what the real servers need: a virtual environment each, Java, a Docker Engine and images.

``python -m tests.real_servers.provision`` makes all that is missing. Everything is kept in ``$LOCALMME_TEST_CACHE``
(``~/.cache/localmme-tests``) or in the engine, and named after what it is made of, so that a changed requirement makes
a new one.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.real_servers import engine, images
from tests.real_servers.making import CACHE, NotProvisioned, apt_install, lock, run, say

# Triton's Python backend runs models in a stub that is built for one Python version, and NumPy 1. The wheel has one for
# 3.13 too, but there is no NumPy 1 for 3.13; with NumPy 2 the stub hands models wrong numbers.
STUB_VERSIONS = ("3.10", "3.11", "3.12")


@dataclass(frozen=True)
class Environment:
    """A virtual environment: its interpreter and what is installed in it."""

    name: str
    interpreter: Path
    requirements: tuple[str, ...]
    bare_requirements: tuple[str, ...] = ()  # installed without what they depend on

    @property
    def directory(self) -> Path:
        """Where it is, or will be."""
        made_of = "\n".join((version_of(self.interpreter), *self.requirements, "", *self.bare_requirements))
        return CACHE / f"{self.name}-{hashlib.sha256(made_of.encode()).hexdigest()[:12]}"

    @property
    def python(self) -> Path:
        """Its interpreter.

        Raises NotProvisioned when it has not been made.
        """
        if not self._marker.exists():
            raise NotProvisioned(f"{self.directory} is missing: run python -m tests.real_servers.provision")
        return self.directory / "bin" / "python"

    @property
    def packages(self) -> Path:
        """Where its packages are."""
        [directory] = self.directory.glob("lib/python3*/site-packages")
        return directory

    def make(self) -> None:
        """Make it, if nobody has; a second caller waits for the first.

        Raises NotProvisioned when a requirement cannot be installed.
        """
        CACHE.mkdir(parents=True, exist_ok=True)
        with lock(CACHE / f"{self.directory.name}.lock"):
            if self._marker.exists():
                return
            say(f"making {self.directory}")
            run([str(self.interpreter), "-m", "venv", "--clear", str(self.directory)])
            pip = [str(self.directory / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check", "-q"]
            if self.requirements:
                run([*pip, *self.requirements])
            if self.bare_requirements:
                run([*pip, "--no-deps", *self.bare_requirements])
            # A virtual environment cannot be moved, so this file, not a rename, says that it is whole.
            self._marker.touch()

    @property
    def _marker(self) -> Path:
        return self.directory / ".complete"


def mms() -> Environment:
    """Multi Model Server, and the SageMaker Inference Toolkit that starts it."""
    requirements = (
        "multi-model-server==1.1.11",
        "sagemaker-inference==1.10.1",
        "retrying",
        "setuptools<81",  # the toolkit imports pkg_resources
    )
    return Environment("mms", Path(sys.executable), requirements)


def triton() -> Environment:
    """Triton Inference Server with its Python backend, out of PyTriton's wheel."""
    return Environment("triton", stub_interpreter(), ("numpy==1.26.4",), ("nvidia-pytriton==0.7.0",))


@functools.cache
def stub_interpreter() -> Path:
    """A Python that Triton has a stub for, and that has its shared library: this one, or another on the PATH.

    Raises NotProvisioned when there is none.
    """
    others = (shutil.which(f"python{version}") for version in reversed(STUB_VERSIONS))
    for candidate in (sys.executable, *filter(None, others)):
        python = Path(candidate)
        if version_of(python) in STUB_VERSIONS and has_shared_library(python):
            return python
    raise NotProvisioned(
        f"Triton's Python backend needs a Python {', '.join(STUB_VERSIONS)} with a shared library (libpython3.X.so): "
        f"this one is {version_of(Path(sys.executable))}, and there is none on the PATH"
    )


@functools.cache
def version_of(python: Path) -> str:
    """A Python's version, as in 3.11."""
    return ask(python, "import sysconfig; print(sysconfig.get_python_version())")


def has_shared_library(python: Path) -> bool:
    """Whether a program can be linked against a Python."""
    library = shared_library(python)
    return library.suffix != ".a" and library.exists()


def shared_library(python: Path) -> Path:
    """The library of a Python, which need not exist."""
    code = "from sysconfig import get_config_var as get; print(get('LIBDIR'), get('INSTSONAME'), sep='/')"
    return Path(ask(python, code))


def ask(python: Path, code: str) -> str:
    """What a Python prints; nothing when it does not run, as a pyenv shim of a version that is not installed."""
    return subprocess.run([str(python), "-c", code], check=False, capture_output=True, text=True).stdout.strip()


def make_java() -> None:
    """See to it that there is Java, which Multi Model Server runs on.

    Raises NotProvisioned when there is none and it cannot be installed.
    """
    if java():
        return
    apt_install(
        "openjdk-17-jre-headless",
        otherwise="Multi Model Server needs Java: install one (17 is known to work) and have java on the PATH",
    )


def java() -> str | None:
    """The java that Multi Model Server would run."""
    home = os.environ.get("JAVA_HOME")
    return shutil.which(f"{home}/bin/java" if home else "java")


def make_images() -> None:
    """Make the images that tests run on a Docker Engine, which is installed and started where none answers.

    Raises NotProvisioned when there can be no engine, or no images, here.
    """
    engine.install()
    with engine.running() as client:
        images.Images(client).make_all()


def main() -> None:
    """Make all that is missing; what cannot be had here, a macOS without Java say, has its tests skipped."""
    missing = False
    for make in (make_java, lambda: mms().make(), lambda: triton().make(), make_images):
        try:
            make()
        except NotProvisioned as reason:
            say(f"{reason}. The tests that need it will be skipped.")
            missing = True
    if missing and "LOCALMME_TESTS_SKIP_NOTHING" in os.environ:
        sys.exit(1)


if __name__ == "__main__":
    main()
