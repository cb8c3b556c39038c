"""All checks, in their order: what each is called, its sentence of the contract, the source of that, and its function.

Sources: [dg] SageMaker developer guide, "Custom containers contract for multi-model endpoints" and around it; [api] API
reference; [gh] public reports; [ours] not documented, but nothing works without it.
"""

from __future__ import annotations

import difflib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from emulator.errors import SetupError
from localmme.check.bench import Bench
from localmme.check.finding import Finding
from localmme.check.suite import invoking, life, loading, memory, robustness


@dataclass(frozen=True)
class Check:
    name: str
    sentence: str  # of the contract, in our words
    source: str
    run: Callable[[Bench], Awaitable[Finding]]
    needs_container: bool = True  # that runs

    @property
    def contract(self) -> str:
        """The sentence and where it is said."""
        return f"{self.sentence} {self.source}"


CHECKS = (
    Check(
        "labels",
        "An image for multi-model endpoints has the label com.amazonaws.sagemaker.capabilities.multi-models=true; for "
        "inference pipelines, accept-bind-to-port=true as well.",
        "[dg]",
        life.labels,
        needs_container=False,
    ),
    Check(
        "entry-point",
        "The image is run with the argument `serve`; its entry point is in exec form, so that the program gets the "
        "argument and SIGTERM, and is not tini.",
        "[dg]",
        life.entry_point,
        needs_container=False,
    ),
    Check(
        "starts",
        "Within 4 minutes of its start, unless the variant gives it more, a container passes its ping health check.",
        "[dg]",
        life.starts,
    ),
    Check(
        "bind-to-port",
        "A container listens on port 8080, or on $SAGEMAKER_BIND_TO_PORT when that is set.",
        "[dg]",
        life.bind_to_port,
    ),
    Check("connect", "A connection is accepted within 250 ms.", "[dg]", life.connect),
    Check("ping", "GET /ping is answered with 200, within 2 s.", "[dg]", life.ping),
    Check(
        "ping-while-busy",
        "GET /ping is answered within 2 s also while models load and invocations are under way.",
        "[dg]",
        life.ping_while_busy,
    ),
    Check(
        "list-empty",
        'GET /models is answered with 200 and {"models": []} when nothing is loaded; it is polled like the ping.',
        "[dg] [gh]",
        loading.list_empty,
    ),
    Check(
        "load",
        'POST /models with {"model_name": N, "url": DIRECTORY} loads a model, and is answered with 200.',
        "[dg]",
        loading.load,
    ),
    Check(
        "load-duplicate",
        "Loading a model that is loaded is answered with 409, and changes nothing.",
        "[dg]",
        loading.load_duplicate,
    ),
    Check(
        "load-missing",
        "Loading a model that is not there is answered with an error, and leaves nothing.",
        "[ours]",
        loading.load_missing,
    ),
    Check(
        "load-broken",
        "Loading a model that cannot be read is answered with an error, and leaves nothing.",
        "[ours]",
        loading.load_broken,
    ),
    Check("get", 'GET /models/N is answered with 200 and {"modelName": N, "modelUrl": URL}.', "[dg]", loading.get),
    Check(
        "list",
        'GET /models is answered with {"models": [{"modelName": N, "modelUrl": URL}]} for what is loaded.',
        "[dg]",
        loading.list_models,
    ),
    Check(
        "list-pages",
        "A list may have pages: nextPageToken leads to the next, as ?next_page_token=, and the last page has none.",
        "[dg]",
        loading.list_pages,
    ),
    Check(
        "opaque-names",
        "A model's name is made up by the platform, such as a hash, and is not the caller's TargetModel.",
        "[dg]",
        loading.opaque_names,
    ),
    Check(
        "invoke",
        "POST /models/N/invoke has the model answer the caller's body.",
        "[dg]",
        invoking.invoke,
    ),
    Check(
        "invoke-headers",
        "The caller's Content-Type, Accept and X-Amzn-SageMaker-Custom-Attributes (up to 1024 characters) come along; "
        "any may be missing.",
        "[dg] [api]",
        invoking.invoke_headers,
    ),
    Check(
        "invoke-content-type",
        "Content types pass as they are, with their parameters, both ways.",
        "[dg]",
        invoking.invoke_content_type,
    ),
    Check("invoke-binary", "A body is of any bytes.", "[api]", invoking.invoke_binary),
    Check("invoke-large", "A body has 6,291,456 bytes and more.", "[api]", invoking.invoke_large),
    Check(
        "unknown-model-invoke",
        "Invoking a model that is not loaded is answered with 404.",
        "[dg]",
        invoking.unknown_model_invoke,
    ),
    Check(
        "unknown-model-get",
        "GET of a model that is not loaded is answered with 404.",
        "[dg]",
        loading.unknown_model_get,
    ),
    Check(
        "unknown-model-unload",
        "Unloading a model that is not loaded is answered with 404.",
        "[dg]",
        loading.unknown_model_unload,
    ),
    Check(
        "unload",
        "DELETE /models/N unloads a model, and is answered with 200; it can be loaded again.",
        "[dg]",
        loading.unload,
    ),
    Check("concurrent-loads", "Several models may be loaded at once.", "[dg]", loading.concurrent_loads),
    Check(
        "load-while-invoking",
        "Invocations of a model go on while another one loads.",
        "[dg]",
        invoking.load_while_invoking,
    ),
    Check(
        "unload-frees-memory",
        "When an unload is answered, the model's resources have been reclaimed.",
        "[dg]",
        memory.unload_frees_memory,
    ),
    Check(
        "load-unload-growth",
        "The platform loads and unloads models for as long as the endpoint lives; memory must not be lost by that.",
        "[ours]",
        memory.load_unload_growth,
    ),
    Check(
        "memory-full",
        "A load for which there is no memory is answered with 507; what is loaded is served on.",
        "[dg]",
        memory.memory_full,
    ),
    Check(
        "reload-after-507",
        "After a 507 the platform unloads models that are not in use, and tries the same load again.",
        "[dg]",
        memory.reload_after_507,
    ),
    Check(
        "unknown-path",
        "A call of another path is answered with an error, and does not end the container.",
        "[ours]",
        robustness.unknown_path,
    ),
    Check(
        "broken-json",
        "A load in broken JSON is answered with an error, and does not end the container.",
        "[ours]",
        robustness.broken_json,
    ),
    Check(
        "sigterm",
        "A container ends within 30 s of SIGTERM; then it gets SIGKILL.",
        "[dg]",
        life.sigterm,
    ),
)


def chosen(only: str | None) -> Sequence[Check]:
    """The checks of these names, separated by commas; all if None. Raises SetupError for one that there is not."""
    if only is None:
        return CHECKS
    names = [name.strip() for name in only.split(",") if name.strip()]
    known = [check.name for check in CHECKS]
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
            hint = f" Near it: {', '.join(near)}." if near else ""
            raise SetupError(f"There is no check {name!r}.{hint} `localmme check --list` names all.")
    if not names:
        raise SetupError("--only takes names of checks; `localmme check --list` names all.")
    return [check for check in CHECKS if check.name in names]
