"""Makes, once per machine, what real servers and clients need: virtual environments, Java, a Docker Engine and images.

``python -m tests.support.real_servers.provision`` makes all that is missing. Everything is kept in
``$LOCALMME_TEST_CACHE`` (``~/.cache/localmme-tests``) or in the engine, and named after what it is made of, so that a
changed requirement makes a new one.
"""

from __future__ import annotations

import functools
import os
import shutil
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.support.real_clients import axe, browser, javascript, sdks
from tests.support.real_servers import engine, images, prometheus
from tests.support.real_servers.making import NotProvisioned, apt_install, say
from tests.support.real_servers.virtual_environment import VirtualEnvironment, ask, version_of

# Triton's Python backend runs models in a stub that is built for one Python version, and NumPy 1. The wheel has one for
# 3.13 too, but there is no NumPy 1 for 3.13; with NumPy 2 the stub hands models wrong numbers.
STUB_VERSIONS = ("3.10", "3.11", "3.12")


def mms() -> VirtualEnvironment:
    """Multi Model Server, and the SageMaker Inference Toolkit that starts it."""
    requirements = (
        "multi-model-server==1.1.11",
        "sagemaker-inference==1.10.1",
        "retrying",
        "setuptools<81",  # the toolkit imports pkg_resources
    )
    return VirtualEnvironment("mms", Path(sys.executable), requirements)


def encoders() -> VirtualEnvironment:
    """What AWS's scikit-learn and XGBoost containers read and write bodies with, and predict, but NumPy and SciPy."""
    bare_requirements = (
        *("sagemaker-containers==2.8.6.post2", "protobuf==3.20.3", "six"),
        "xgboost-cpu==3.2.0",
        *("scikit-learn==1.7.2", "joblib==1.5.2", "threadpoolctl==3.6.0"),
    )
    return VirtualEnvironment("encoders", Path(sys.executable), (), bare_requirements)


def training_toolkit() -> VirtualEnvironment:
    """The SageMaker Training Toolkit, without what it needs for other machines' GPUs and for its own data formats."""
    requirements = ("boto3", "retrying", "inotify_simple", "paramiko", "psutil", "six")
    return VirtualEnvironment("training-toolkit", Path(sys.executable), requirements, ("sagemaker-training==5.1.4",))


def make_encoders() -> None:
    """Make that environment, for a part of which a C compiler is needed.

    Raises NotProvisioned when there is none and it cannot be installed.
    """
    if shutil.which("cc") is None:
        apt_install("build-essential", otherwise="sagemaker-containers needs a C compiler: install one")
    encoders().make()


def triton() -> VirtualEnvironment:
    """Triton Inference Server with its Python backend, out of PyTriton's wheel."""
    return VirtualEnvironment("triton", stub_interpreter(), ("numpy==1.26.4",), ("nvidia-pytriton==0.7.0",))


def torch() -> VirtualEnvironment:
    """PyTorch, and what AWS's containers for PyTorch and Hugging Face serve with: their toolkits and servers.

    One for both, as PyTorch is most of it.
    """
    requirements = (
        "torch==2.13.0",  # a version that has builds for CPUs only
        "torchserve==0.12.0",
        "pyyaml",  # TorchServe's workers import it, its package does not ask for it
        "sagemaker-pytorch-inference==2.0.25",
        "multi-model-server==1.1.11",
        "sagemaker-inference==1.10.1",
        "transformers==4.57.6",  # the toolkit imports what version 5 no longer has
        "retrying",
        "setuptools<81",  # the toolkits import pkg_resources
    )
    # It asks for libraries of sound, which are larger than all the rest and used for sound only.
    toolkit = ("sagemaker-huggingface-inference-toolkit==2.6.0",)
    return VirtualEnvironment("torch", Path(sys.executable), requirements, toolkit)


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


def has_shared_library(python: Path) -> bool:
    """Whether a program can be linked against a Python."""
    library = shared_library(python)
    return library.suffix != ".a" and library.exists()


def shared_library(python: Path) -> Path:
    """The library of a Python, which need not exist."""
    code = "from sysconfig import get_config_var as get; print(get('LIBDIR'), get('INSTSONAME'), sep='/')"
    return Path(ask(python, code))


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


def with_java(environment: VirtualEnvironment, *words: object) -> list[str]:
    """The command of a script for an environment's Python that starts a server which runs on Java.

    Raises NotProvisioned when it cannot run here.
    """
    if not java():
        raise NotProvisioned("there is no Java: run python -m tests.support.real_servers.provision")
    return [str(environment.python), *map(str, words)]


def make_images() -> None:
    """Make the images that tests run on a Docker Engine, which is installed and started where none answers.

    Raises NotProvisioned when there can be no engine, or no images, here.
    """
    engine.install()
    with engine.running() as client:
        images.Images(client).make_all()


def made(make: Callable[[], None]) -> bool:
    """Whether something could be made; if not, says why."""
    try:
        make()
    except NotProvisioned as reason:
        say(f"{reason}. The tests that need it will be skipped.")
        return False
    return True


def main() -> None:
    """Make all that is missing; what cannot be had here, a macOS without Java say, has its tests skipped."""
    environments = (torch, mms, triton, training_toolkit, sdks.sdk_2, sdks.sdk_3)
    packages = (javascript.PACKAGES.make, axe.PACKAGES.make)
    programs = (make_images, make_java, make_encoders, browser.make, prometheus.make, *packages)
    # The images take longest, and much of that is waiting.
    with ThreadPoolExecutor(2) as pool:
        whether = list(pool.map(made, (*programs, *(lambda of=of: of().make() for of in environments))))
    if not all(whether) and "LOCALMME_TESTS_SKIP_NOTHING" in os.environ:
        sys.exit(1)


if __name__ == "__main__":
    main()
