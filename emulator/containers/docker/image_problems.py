"""What SageMaker would not take of an image, as far as the engine describes it: each cause with what to do."""

from __future__ import annotations

from emulator.containers.container import GRAVITON, X86
from emulator.containers.docker.images import InspectedImage
from emulator.sizes import GIB, format_size

OCI = "application/vnd.oci."
INDEX = "application/vnd.oci.image.index.v1+json"
LARGE_BYTES = 10 * GIB  # [ours] each instance pulls it before it serves, a new one as well


def shell_form_problem(image: InspectedImage) -> str:
    """What does not reach the program of an entry point in shell form; empty for one in exec form."""
    if image.entrypoint[:2] != ("/bin/sh", "-c"):
        return ""
    return (
        "Its entry point is in shell form: neither the argument `serve` nor SIGTERM reaches the program, so it ends "
        'only when it is killed. Write it in exec form, ENTRYPOINT ["program", "argument"].'
    )


def architecture_problem(image: InspectedImage, wanted: str) -> str:
    """Why an instance whose processors are ``wanted`` cannot run it; empty if it can."""
    if image.architecture in ("", wanted):
        return ""
    machines = {X86: "x86_64 instances", GRAVITON: "Graviton instances (ml.*g types)"}
    runs_on = f"{machines[image.architecture]} only" if image.architecture in machines else "no instance type"
    return (
        f"It is built for {image.architecture}, which runs on {runs_on}: elsewhere on SageMaker, it ends with `exec "
        f"format error`. Build it with `docker build --platform linux/{wanted}`."
    )


def manifest_problem(image: InspectedImage) -> str:
    """Why CreateModel refuses its manifest; empty if it does not, as far as is known. [reports]"""
    if not image.media_type.startswith(OCI):
        return ""
    index = ", and an index for attestations," if image.media_type == INDEX else ""
    return (
        f"CreateModel refuses it: Unsupported manifest media type {image.media_type}. BuildKit makes OCI's media types"
        f"{index} where the engine keeps images in containerd. Build it with `docker buildx build --provenance=false "
        "--output type=docker`."
    )


def size_problem(image: InspectedImage) -> str:
    """What its size means; empty for a usual one."""
    if image.size_bytes <= LARGE_BYTES:
        return ""
    return f"It has {format_size(image.size_bytes)}, which each new instance has to pull before it serves."


def problems(image: InspectedImage, wanted_architecture: str) -> list[str]:
    """All of it."""
    found = (
        shell_form_problem(image),
        architecture_problem(image, wanted_architecture),
        manifest_problem(image),
        size_problem(image),
    )
    return [problem for problem in found if problem]
