"""All checks, in their order: name, sentence of the contract, and what to do if it fails."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from emulator.errors import SetupError
from emulator.limits import FORMER_BODY_BYTES
from emulator.suggestions import similar_names
from localmme.check.finding import Finding, skipped
from localmme.check.harness import Harness
from localmme.check.suite import image, invoking, life, loading, memory, robustness

# The sources of sentences. DG: "Custom containers contract for multi-model endpoints" and around it
DG, API, REPORTS = "SageMaker developer guide", "SageMaker API reference", "public reports"
OURS = "not documented, but nothing works without it"


@dataclass(frozen=True)
class Check:
    name: str
    sentence: str  # of the contract, in our words
    sources: tuple[str, ...]
    run: Callable[[Harness], Awaitable[Finding]]
    done: str  # what is tried, in a few words
    fix: str  # what to do if it fails
    needs_container: bool = True  # whether it needs a running container
    is_fast: bool = True  # whether it is made with --fast
    depends_on_past: bool = True  # whether what other checks left in the container may make it fail
    is_of_memory: bool = False  # a failure may be the cause of a container's later end

    @property
    def contract(self) -> str:
        """The sentence and its sources."""
        return f"{self.sentence} ({', '.join(self.sources)})"


async def _of_all(harness: Harness) -> Finding:
    return skipped("Its result follows from the other checks.")


LONG_USE = Check(
    "long-use",
    "A container that has been used for a while does what a fresh one does.",
    (OURS,),
    _of_all,
    done="a check that fails in a container that others have used is made again in a fresh one",
    fix=(
        "Look for what one call leaves behind for the next: models, memory, threads, locks. A container that ended is "
        "a failure, anything else a warning."
    ),
    needs_container=False,
    depends_on_past=False,
)
CHECKS = (
    Check(
        "labels",
        "An image for multi-model endpoints has the label com.amazonaws.sagemaker.capabilities.multi-"
        "models=true; for inference pipelines, accept-bind-to-port=true as well.",
        (DG,),
        image.labels,
        done="the image's labels are read",
        fix=(
            "Add the `LABEL`; CreateModel refuses the image without it. Only `accept-bind-to-port` missing is a"
            " warning."
        ),
        needs_container=False,
        depends_on_past=False,
    ),
    Check(
        "entry-point",
        "The image is run with the argument `serve`; its entry point is in exec form, so that the program "
        "gets the argument and SIGTERM, and is not tini.",
        (DG,),
        image.entry_point,
        done="the image's entry point is read",
        fix=(
            'Use the exec form, `ENTRYPOINT ["python", "serve.py"]`; not tini. A shell that becomes the program'
            " by `exec` is a warning: SIGTERM reaches it."
        ),
        needs_container=False,
        depends_on_past=False,
    ),
    Check(
        "architecture",
        "An image is for the processors of its instance type: x86_64, or arm64 for Graviton (ml.*g types).",
        (REPORTS,),
        image.architecture,
        done="the image's platform is read",
        fix="`docker build --platform linux/amd64`. A warning: an image for arm64 runs on Graviton.",
        needs_container=False,
        depends_on_past=False,
    ),
    Check(
        "manifest",
        "CreateModel takes images with Docker's media types, not with those of OCI, which attestations need.",
        (REPORTS,),
        image.manifest,
        done="the media type of the image's manifest is read, and its size",
        fix="`docker buildx build --provenance=false --output type=docker`. More than 10 GiB is a warning.",
        needs_container=False,
        depends_on_past=False,
    ),
    Check(
        "program",
        "The program that is run, the entry point's or `serve` on the PATH, is there and can be executed.",
        (DG,),
        image.program,
        done="the program is looked at in a container that is not started",
        fix="`RUN chmod a+x PROGRAM`; line feeds without carriage returns in a script.",
        needs_container=False,
        depends_on_past=False,
    ),
    Check(
        "user",
        "The image's user can read what is mounted below /opt/ml.",
        (OURS,),
        image.user,
        done="the directories are looked at in a container that is not started",
        fix="`RUN chmod a+rx /opt/ml` before the `USER` line, or no `USER`.",
        needs_container=False,
        depends_on_past=False,
    ),
    Check(
        "starts",
        "Within 4 minutes of its start, unless the variant gives it more, a container passes its ping health check.",
        (DG,),
        life.starts,
        done="the container is started and pinged",
        fix="Look at the log that is shown; a slow one needs ContainerStartupHealthCheckTimeoutInSeconds.",
        depends_on_past=False,
    ),
    Check(
        "connect",
        "A connection is accepted within 250 ms.",
        (DG,),
        life.connect,
        done="10 connections at once",
        fix="Accept in time: more threads, a longer queue (`listen`).",
    ),
    Check(
        "ping",
        "GET /ping is answered with 200, within 2 s.",
        (DG,),
        life.ping,
        done="five pings",
        fix="Answer at once, without looking at models.",
    ),
    Check(
        "list-empty",
        'GET /models is answered with 200 and {"models": []} when nothing is loaded; it is polled like the ping.',
        (DG, REPORTS),
        loading.list_empty,
        done="GET /models before any load",
        fix=(
            'Answer `{"models": []}`. The platform polls it like the ping: without it, the endpoint does not '
            "come InService."
        ),
    ),
    Check(
        "ping-while-busy",
        "GET /ping is answered within 2 s also while models load and invocations are under way.",
        (DG,),
        life.ping_while_busy,
        done="pings during loads and invocations",
        fix="Do not hold a lock while a model loads, nor the event loop.",
    ),
    Check(
        "load",
        'POST /models with {"model_name": N, "url": DIRECTORY} loads a model, and is answered with 200.',
        (DG,),
        loading.load,
        done="each archive is loaded",
        fix="Look at the log that is shown.",
    ),
    Check(
        "load-duplicate",
        "Loading a model that is loaded is answered with 409, and changes nothing.",
        (DG,),
        loading.load_duplicate,
        done="one model is loaded twice",
        fix="Answer 409. 200 is a warning: it is loaded. Another error would reach the caller.",
    ),
    Check(
        "load-missing",
        "Loading a model that is not there is answered with an error, and leaves nothing.",
        (OURS,),
        loading.load_missing,
        done="a directory that is not there",
        fix="Answer an error, and keep nothing: neither in the list nor for GET. Pings go on.",
    ),
    Check(
        "load-broken",
        "Loading a model that cannot be read is answered with an error, and leaves nothing.",
        (OURS,),
        loading.load_broken,
        done="a copy of the model with every file empty",
        fix=(
            "Answer an error, and keep nothing: neither in the list nor for GET. Pings go on. If it loads, that"
            " is a warning: callers are the first to see that a model is broken. So is 507, for which others "
            "are unloaded."
        ),
    ),
    Check(
        "get",
        'GET /models/N is answered with 200 and {"modelName": N, "modelUrl": URL}.',
        (DG,),
        loading.get,
        done="GET /models/N",
        fix=(
            "Answer `modelName` and `modelUrl`. An URL other than that of the load, or a missing member, is a warning."
        ),
    ),
    Check(
        "list",
        'GET /models is answered with {"models": [{"modelName": N, "modelUrl": URL}]} for what is loaded.',
        (DG,),
        loading.list_models,
        done="GET /models with a model",
        fix=(
            "Answer `modelName` and `modelUrl` for each. A URL other than that of the load, a missing member, or "
            "another form of list is a warning."
        ),
    ),
    Check(
        "list-pages",
        "A list may have pages: nextPageToken leads to the next, as ?next_page_token=, and the last page has none.",
        (DG,),
        loading.list_pages,
        done="four models, all pages",
        fix="Each model once; no `nextPageToken` on the last page.",
    ),
    Check(
        "opaque-names",
        "A model's name is made up by the platform, such as a hash, and is not the caller's TargetModel.",
        (DG,),
        loading.opaque_names,
        done="names such as `0e17...` and 32 digits",
        fix="Take names as text, and as nothing but names.",
    ),
    Check(
        "invoke",
        "POST /models/N/invoke has the model answer the caller's body.",
        (DG,),
        invoking.invoke,
        done="the sample request",
        fix="Look at the log that is shown; 404 is only for models that are not loaded.",
    ),
    Check(
        "invoke-headers",
        "The caller's Content-Type, Accept and X-Amzn-SageMaker-Custom-Attributes (up to 1024 characters) "
        "come along; any may be missing.",
        (DG, API),
        invoking.invoke_headers,
        done="the longest custom attributes, and no headers at all",
        fix="Raise the server's limit for headers.",
    ),
    Check(
        "invoke-content-type",
        "Content types pass as they are, with their parameters, both ways.",
        (DG,),
        invoking.invoke_content_type,
        done="a content type with a parameter in capitals and blanks",
        fix="Pass it on as it is. If a model refuses it or does not return it, the check passes.",
    ),
    Check(
        "invoke-binary",
        "A body is of any bytes.",
        (API,),
        invoking.invoke_binary,
        done="all 256 bytes",
        fix=(
            "Do not decode bodies. What the model says to them is its own affair, but it must be answered, and "
            "not with 404. A model that returns its input must return the same bytes."
        ),
    ),
    Check(
        "invoke-large",
        f"A body has {FORMER_BODY_BYTES:,} bytes and more.",
        (API,),
        invoking.invoke_large,
        done="the sample, filled up with blanks to 6 MiB; SageMaker sends up to 25 MB",
        fix="Raise the server's limit for bodies. A model that refuses blanks passes.",
    ),
    Check(
        "unknown-model-invoke",
        "Invoking a model that is not loaded is answered with 404.",
        (DG,),
        invoking.unknown_model_invoke,
        done="a name that was never loaded",
        fix="Answer 404: by it the platform knows that it has to load the model.",
    ),
    Check(
        "unknown-model-get",
        "GET of a model that is not loaded is answered with 404.",
        (DG,),
        loading.unknown_model_get,
        done="GET of a name that was never loaded",
        fix="Answer 404. Another 4xx is a warning.",
    ),
    Check(
        "unknown-model-unload",
        "Unloading a model that is not loaded is answered with 404.",
        (DG,),
        loading.unknown_model_unload,
        done="DELETE of a name that was never loaded",
        fix="Answer 404. Any other but a 5xx is a warning.",
    ),
    Check(
        "unload",
        "DELETE /models/N unloads a model, and is answered with 200; it can be loaded again.",
        (DG,),
        loading.unload,
        done="unloaded, looked for, loaded again",
        fix="Answer 200 when it has gone.",
    ),
    Check(
        "concurrent-loads",
        "Several models may be loaded at once.",
        (DG,),
        loading.concurrent_loads,
        done="three loads at once",
        fix="Make loads wait for each other, or go side by side.",
    ),
    Check(
        "load-while-invoking",
        "Invocations of a model go on while another one loads.",
        (DG,),
        invoking.load_while_invoking,
        done="invocations without a pause, and loads",
        fix="Do not let a load take what invocations need.",
    ),
    Check(
        "bind-to-port",
        "A container listens on port 8080, or on $SAGEMAKER_BIND_TO_PORT when that is set.",
        (DG,),
        life.bind_to_port,
        done="SAGEMAKER_BIND_TO_PORT is another port; an image's container is then used by the checks after it",
        fix="Listen on `$SAGEMAKER_BIND_TO_PORT`, or 8080. A warning for an image without that label.",
        depends_on_past=False,
        is_fast=False,
    ),
    Check(
        "unload-frees-memory",
        "When an unload is answered, the model's resources have been reclaimed.",
        (DG,),
        memory.unload_frees_memory,
        done=(
            "in a fresh container, models are loaded until they can be measured, and unloaded; three times at "
            "most, of which the best counts"
        ),
        fix=(
            "60 % released is enough, less than 30 % is a failure. With glibc, "
            "`MALLOC_MMAP_THRESHOLD_=131072` or `MALLOC_ARENA_MAX=1` helps; or a process for each model."
        ),
        depends_on_past=False,
        is_fast=False,
        is_of_memory=True,
    ),
    Check(
        "load-unload-growth",
        "The platform loads and unloads models for as long as the endpoint lives; memory must not be lost by that.",
        (OURS,),
        memory.load_unload_growth,
        done=(
            "100 times load and unload, or as many as 10 s allow, fewer if memory stays as it is; and as many "
            "again before it fails"
        ),
        fix=(
            "Something keeps models: caches, globals, workers. Memory that rises in a few steps, or for a "
            "while, does not count; with fewer than 50 rounds it is a warning."
        ),
        depends_on_past=False,
        is_fast=False,
        is_of_memory=True,
    ),
    Check(
        "memory-full",
        "A load for which there is no memory is answered with 507; what is loaded is served on.",
        (DG,),
        memory.memory_full,
        done="models are loaded until one is refused",
        fix=(
            "Answer 507 before the kernel kills the container, which it does without asking: count, and refuse in time."
        ),
        is_fast=False,
    ),
    Check(
        "reload-after-507",
        "After a 507 the platform unloads models that are not in use, and tries the same load again.",
        (DG,),
        memory.reload_after_507,
        done="one model after the other is unloaded, and the refused one is loaded again",
        fix="A refused load must leave nothing.",
        is_fast=False,
    ),
    Check(
        "metrics",
        "With ContainerMetricsConfig, a container's own metrics are read by GET /metrics, in Prometheus' text format.",
        (API,),
        robustness.metrics,
        done="GET /metrics",
        fix="Answer Prometheus' text format, or 404. Never a failure: no container needs metrics.",
    ),
    Check(
        "unknown-path",
        "A call of another path is answered with an error, and does not end the container.",
        (OURS,),
        robustness.unknown_path,
        done="calls that are not in the contract",
        fix="Answer an error; do not die.",
    ),
    Check(
        "broken-json",
        "A load in broken JSON is answered with an error, and does not end the container.",
        (OURS,),
        robustness.broken_json,
        done="calls that are not in the contract",
        fix="Answer an error; do not die.",
    ),
    Check(
        "sigterm",
        "A container ends within 30 s of SIGTERM; then it gets SIGKILL.",
        (DG,),
        life.sigterm,
        done="SIGTERM, with a model loaded",
        fix="End within 30 s. Process 1 of a container ignores SIGTERM unless it handles it.",
        depends_on_past=False,
    ),
    LONG_USE,
)


def chosen(only: str | None, fast: bool = False) -> Sequence[Check]:
    """The checks with these names, separated by commas; None = all, or with ``fast`` all fast ones.

    Raises SetupError for an unknown name.
    """
    if only is not None and fast:
        raise SetupError("--only and --fast exclude each other: each selects checks.")
    if only is None:
        return [check for check in CHECKS if check.is_fast or not fast]
    names = [name.strip() for name in only.split(",") if name.strip()]
    known = [check.name for check in CHECKS]
    for name in names:
        if name not in known:
            similar = similar_names(name, known, similarity=0.4)
            hint = f" Similar: {', '.join(similar)}." if similar else ""
            raise SetupError(f"There is no check {name!r}.{hint} `localmme check --list` lists all checks.")
    if not names:
        raise SetupError("--only takes names of checks; `localmme check --list` lists them.")
    return [check for check in CHECKS if check.name in names]
