"""The images that tests run, made in the engine when they are first asked for.

Each is tagged with a hash of what it is made of, base included: it is made once per engine, and anew when any of that
has changed. ``Images.build`` makes any other image as cheaply.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import docker
from docker.errors import BuildError, ImageNotFound

from tests.support.real_servers import base_image
from tests.support.real_servers.making import CACHE, lock, say
from tests.support.repository import REPOSITORY

SAMPLES = REPOSITORY / "samples" / "containers"
PREFIX = "localmme-test-"

# What build() is given to put the scripted container into an image.
SCRIPTED_FILES = {"scripted_container.py": (REPOSITORY / "tests" / "support" / "scripted_container.py").read_bytes()}

FROM = "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\n"
MULTI_MODEL_LABEL = "LABEL com.amazonaws.sagemaker.capabilities.multi-models=true\n"
BIND_TO_PORT_LABEL = "LABEL com.amazonaws.sagemaker.capabilities.accept-bind-to-port=true\n"

SCRIPTED_IMAGE = f"""{FROM}{MULTI_MODEL_LABEL}{BIND_TO_PORT_LABEL}
COPY scripted_container.py /
ENTRYPOINT ["python", "/scripted_container.py"]
"""

# Laid out as in NVIDIA's image. The server looks for its libraries in ../lib by itself, its backend and the stub, which
# runs the models, do not.
TRITON_BASE = f"""{FROM}
RUN pip install numpy==1.26.4 \\
 && pip install --no-deps --no-compile --target /unpacked nvidia-pytriton \\
 && mkdir -p /opt/tritonserver \\
 && cd /unpacked/pytriton/tritonserver \\
 && mv bin backends /opt/tritonserver/ \\
 && mv python_backend_stubs/3.11/triton_python_backend_stub /opt/tritonserver/backends/python/ \\
 && mv /unpacked/nvidia_pytriton.libs /opt/tritonserver/lib \\
 && rm -r /unpacked
ENV LD_LIBRARY_PATH=/opt/tritonserver/lib PATH=/opt/tritonserver/bin:/usr/local/bin:/usr/bin:/usr/sbin:/bin:/sbin
"""


@dataclass(frozen=True)
class Images:
    """The test images in an engine; each method returns a tag."""

    engine: docker.DockerClient

    def base(self) -> str:
        """Debian with Python 3.11 and Java, where pip installs what the samples need without an index."""
        repository, tag = f"{PREFIX}base", base_image.digest()
        with making(f"{repository}:{tag}"):
            if not self._exists(f"{repository}:{tag}"):
                base_image.make(self.engine, repository, tag)
        return f"{repository}:{tag}"

    def triton_base(self) -> str:
        """What stands for NVIDIA's Triton image."""
        return self.build("triton-base", TRITON_BASE)

    def scripted(self) -> str:
        """The scripted container, see ``tests/support/scripted_container.py``."""
        return self.build("scripted", SCRIPTED_IMAGE, SCRIPTED_FILES)

    def plain(self) -> str:
        """The sample of a container in nothing but Python."""
        return self._sample("plain", self.base())

    def multi_model_server(self) -> str:
        """The sample with Multi Model Server."""
        return self._sample("multi_model_server", self.base())

    def triton(self) -> str:
        """The sample with Triton."""
        return self._sample("triton", self.triton_base())

    def pipeline_step(self) -> str:
        """The sample of the containers before and after a multi-model container."""
        return self._sample("pipeline", self.base())

    def make_all(self) -> None:
        """Make all of them."""
        for make in (self.scripted, self.plain, self.pipeline_step, self.multi_model_server, self.triton):
            make()

    def build(
        self, name: str, dockerfile: str, files: Mapping[str, str | bytes] = {}, *, base: str | None = None
    ) -> str:
        """An image by a Dockerfile, which has these files beside it, and the base image's tag in ``BASE_IMAGE``.

        A file that begins with ``#!`` can be executed.
        """
        base = base or self.base()
        contents = {"Dockerfile": dockerfile, **files}
        context = {path: text.encode() if isinstance(text, str) else text for path, text in contents.items()}
        tag = f"{PREFIX}{name}:{digest(base, context)}"
        with making(tag):
            if not self._exists(tag):
                self._build(tag, context, base)
        return tag

    def sample(self, name: str) -> str:
        """The image of a directory below ``samples/containers``."""
        return self.pipeline_step() if name == "pipeline" else getattr(self, name)()

    def _sample(self, name: str, base: str) -> str:
        directory = SAMPLES / name
        files = {str(path.relative_to(directory)): path for path in sorted(directory.rglob("*")) if path.is_file()}
        contents = {name: path.read_bytes() for name, path in files.items() if "__pycache__" not in name}
        dockerfile = contents.pop("Dockerfile").decode()
        return self.build(name.replace("_", "-"), dockerfile, contents, base=base)

    def _exists(self, tag: str) -> bool:
        try:
            self.engine.images.get(tag)
        except ImageNotFound:
            return False
        return True

    def _build(self, tag: str, context: Mapping[str, bytes], base: str) -> None:
        try:
            self.engine.images.build(
                fileobj=packed(context),
                custom_context=True,
                tag=tag,
                buildargs={"BASE_IMAGE": base},
                rm=True,
                forcerm=True,
            )
        except BuildError as failure:
            log = "".join(line.get("stream", "") for line in failure.build_log)
            raise RuntimeError(f"{tag} cannot be built: {failure}\n{log}") from None


@contextmanager
def making(tag: str) -> Iterator[None]:
    """Let one process at a time look for an image and make it; tell how long that took."""
    began = time.monotonic()
    with lock(CACHE / f"{tag.replace(':', '-')}.lock"):
        yield
    if (took := time.monotonic() - began) > 1:
        say(f"made {tag} in {took:.0f} s")


def digest(base: str, context: Mapping[str, bytes]) -> str:
    """A short hash of what an image is built of."""
    made_of = hashlib.sha256(base.encode())
    for name, content in sorted(context.items()):
        made_of.update(f"\0{name}\0{len(content)}\0".encode() + content)
    return made_of.hexdigest()[:12]


def packed(context: Mapping[str, bytes]) -> io.BytesIO:
    """The files as the engine's builder takes them."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in context.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            member.mode = 0o755 if content.startswith(b"#!") else 0o644
            tar.addfile(member, io.BytesIO(content))
    buffer.seek(0)
    return buffer
