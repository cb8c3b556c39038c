"""What an image is before it is run: its labels, entry point, platform, manifest and files."""

from __future__ import annotations

import posixpath

from emulator.containers.container import X86
from emulator.containers.docker.configuration import BIND_TO_PORT_LABEL, MULTI_MODEL_LABEL
from emulator.containers.docker.image_files import ImageFile, look
from emulator.containers.docker.image_problems import architecture_problem, manifest_problem, size_problem
from emulator.containers.docker.images import InspectedImage
from localmme.check.finding import Finding, failed, passed, skip, warned
from localmme.check.harness import Harness

# Where SageMaker mounts models, from the top.
MOUNTED = ("/opt", "/opt/ml", "/opt/ml/models")
CARRIAGE_RETURN = b"\r"


def _image(harness: Harness) -> InspectedImage:
    image = harness.under_test.image
    if image is None:
        skip("This is of images: check one with --image.")
    return image


async def labels(harness: Harness) -> Finding:
    image = _image(harness)
    missing = [
        label
        for label in (MULTI_MODEL_LABEL, BIND_TO_PORT_LABEL)
        if image.labels.get(label.partition("=")[0]) != label.partition("=")[2]
    ]
    if MULTI_MODEL_LABEL in missing:
        return failed(f"CreateModel refuses the image. Add `LABEL {MULTI_MODEL_LABEL}` to its Dockerfile.")
    if missing:
        return warned(
            f"It cannot be in an inference pipeline or be one of several containers. Add `LABEL {BIND_TO_PORT_LABEL}`."
        )
    return passed()


async def entry_point(harness: Harness) -> Finding:
    image = _image(harness)
    if image.entrypoint[:2] == ("/bin/sh", "-c"):
        if image.entrypoint[2:3] and image.entrypoint[2].lstrip().startswith("exec "):
            return warned(
                "The entry point is in shell form. SIGTERM reaches the program by its `exec`, the argument `serve` "
                'does not. Write it in exec form, ENTRYPOINT ["program", "argument"].'
            )
        return failed(
            "The entry point is in shell form: neither the argument `serve` nor SIGTERM reaches the program. Write it "
            'in exec form, ENTRYPOINT ["program", "argument"].'
        )
    if image.entrypoint and image.entrypoint[0].rpartition("/")[2] in ("tini", "tini-static"):
        return failed(
            "The entry point is tini, which does not work with the argument `serve`. Start the program itself."
        )
    if not image.entrypoint:
        return passed("The image has no entry point, so the program `serve` on the PATH is run.")
    return passed(" ".join(image.entrypoint))


async def architecture(harness: Harness) -> Finding:
    image = _image(harness)
    if problem := architecture_problem(image, X86):
        return warned(problem)
    return passed(image.architecture)


async def manifest(harness: Harness) -> Finding:
    image = _image(harness)
    if problem := manifest_problem(image):
        return failed(problem)
    if problem := size_problem(image):
        return warned(problem)
    return passed(image.media_type or "The engine does not say: it keeps images without their manifests, or is older.")


async def program(harness: Harness) -> Finding:
    image = _image(harness)
    name = image.entrypoint[0] if image.entrypoint else "serve"
    directories = [""] if "/" in name else image.path.split(":")
    paths = [posixpath.join(image.working_directory, directory, name) for directory in directories]
    found = [file for file in await look(harness.under_test.engine, image, paths) if file and not file.is_directory]
    if not found:
        if image.entrypoint:
            return failed(f"Its entry point begins with {name}, and there is no such program in the image.")
        return failed(
            "The image has no entry point, and no program `serve` on its PATH: SageMaker runs `docker run IMAGE serve`."
        )
    return _runnable(next((file for file in found if file.may(image.user, 1)), found[0]), image)


def _runnable(file: ImageFile, image: InspectedImage) -> Finding:
    if not file.may(image.user, 1):
        who = f"by its user {image.user}" if file.mode & 0o111 else "by anybody"
        return failed(f"{file.path} may not be executed {who}. Add `RUN chmod a+x {file.path}` to the Dockerfile.")
    first_line = file.beginning.partition(b"\n")[0]
    if first_line.startswith(b"#!") and first_line.endswith(CARRIAGE_RETURN):
        return failed(
            f"The lines of {file.path} end as in Windows (CRLF): the kernel looks for an interpreter whose name ends "
            f"with a carriage return. Add `RUN sed -i 's/\\r$//' {file.path}`, or `*.sh text eol=lf` to .gitattributes."
        )
    return passed(file.path)


async def user(harness: Harness) -> Finding:
    image = _image(harness)
    if not image.user:
        return passed("root")
    for file in await look(harness.under_test.engine, image, MOUNTED):
        if file is not None and not (file.may(image.user, 1) and file.may(image.user, 4)):
            return failed(
                f"User {image.user} may not read {file.path}, below which SageMaker mounts the models. Add `RUN chmod "
                f"a+rx {file.path}` before the `USER` line."
            )
    return passed(f"User {image.user} can read /opt/ml.")
