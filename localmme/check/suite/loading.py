"""Checks of loads and unloads, and of the lists of loaded models."""

from __future__ import annotations

import asyncio
import secrets

from localmme.check.calls import Exchange
from localmme.check.finding import Finding, fail, failed, passed, skipped, warn, warned
from localmme.check.harness import NO_LIST, Harness, Listing, is_unknown
from localmme.check.models import Model, new_name
from localmme.pack.mistakes import REQUIREMENTS

MODELS_LISTED = 4  # when a list may have pages
LOADS_AT_ONCE = 3


async def list_empty(harness: Harness) -> Finding:
    await harness.empty()
    listing = await harness.listing()
    if listing.problem:
        problem = f"{listing.problem[0].upper()}{listing.problem[1:]}. The platform polls it like the ping"
        if listing.exchange.status == 200:
            return warned(f"{problem}, and looks at the status only.", listing.exchange)
        return failed(f"{problem}: the endpoint does not come InService.", listing.exchange)
    if listing.entries and harness.ever_loaded:  # whether unloaded models go from the list is a check of its own
        await harness.fresh()
        listing = await harness.listing()
    if listing.entries:
        return warned("It lists models though none was loaded yet.", listing.exchange)
    return passed(exchange=listing.exchange)


async def load(harness: Harness) -> Finding:
    seconds = []
    for number, archive in enumerate(harness.models.archives):
        model = await asyncio.to_thread(harness.models.copy, number)
        answer = await harness.load(model)
        if not answer.ok:
            return failed(_why_not(harness, archive.name, answer), answer)
        seconds.append(answer.seconds)
    harness.keep(model)
    if answer.status != 200:
        return warned("A load is answered with 200.", answer)
    if listing := harness.models.with_requirements():
        return warned(
            f"They are loaded, but {', '.join(listing)} holds {REQUIREMENTS}, of which SageMaker's own multi-model "
            "containers install nothing: have it in the image, or put the modules into code/.",
            answer,
        )
    return passed(f"{len(seconds)} loaded; the slowest took {max(seconds):.2f} s.", answer)


def _why_not(harness: Harness, archive: str, answer: Exchange) -> str:
    detail = f"{archive} cannot be loaded, so none of its invocations succeeds."
    if not harness.under_test.is_ours:
        return f"{detail} The container must see the directory {harness.under_test.models}, where models are extracted."
    return f"{detail} {harness.running.last_words()}"


async def load_duplicate(harness: Harness) -> Finding:
    model = await harness.model()
    again = await harness.load(model)
    after = await harness.get(model)
    if is_unknown(after):
        return failed("After it was loaded a second time, the model is gone.", after)
    if again.status == 409:
        return passed(exchange=again)
    if again.ok:
        return warned("It says that it has loaded the model again. The platform copes, as it is loaded.", again)
    return failed("By a 409 the platform knows that the model is loaded; this answer is an error to the caller.", again)


async def load_missing(harness: Harness) -> Finding:
    model, url = await harness.url_of_nothing()
    answer = await harness.load(model, url)
    return await _refused(harness, model, answer, "whose directory is not there")


async def load_broken(harness: Harness) -> Finding:
    model = await asyncio.to_thread(harness.models.broken)
    if model is None:
        return skipped("The archive has no file with anything in it, so that a copy cannot be broken.")
    answer = await harness.load(model)
    if answer.ok:
        return warned(
            "A copy of the model in which every file is empty was loaded all the same: what is wrong with a model is "
            "seen at its first invocation only.",
            answer,
        )
    finding = await _refused(harness, model, answer, "in which every file is empty")
    if finding.verdict == "pass" and answer.status == 507:
        return warned("507 has the platform unload other models for one that will never load.", answer)
    return finding


async def _refused(harness: Harness, model: Model, answer: Exchange, which: str) -> Finding:
    """Whether a load failed as it should, and left nothing."""
    if answer.ok:
        return failed(f"A model {which} counts as loaded: all its invocations will fail.", answer)
    if not answer.status:
        return failed(f"The load of a model {which} must be answered with an error.", answer)
    if (await harness.get(model)).status == 200:
        return failed(f"A model {which} is still known after its load has failed.", await harness.get(model))
    listing = await harness.listing()
    if model.name in listing.names():
        return failed(f"A model {which} is listed after its load has failed.", listing.exchange)
    ping = await harness.ping()
    if ping.status != 200:
        return failed("After a load has failed, pings fail: the platform replaces the whole container.", ping)
    return passed("Answered with an error, and the model is not known afterwards.", answer)


async def get(harness: Harness) -> Finding:
    model = await harness.model()
    answer = await harness.get(model)
    content = answer.json()
    if isinstance(content, list) and len(content) == 1:  # Multi Model Server may answer with one for each version
        content = content[0]
    if answer.status != 200 or not isinstance(content, dict):
        return failed("A loaded model is described by JSON, with status 200.", answer)
    return _described(model, content, answer) or passed(exchange=answer)


async def list_models(harness: Harness) -> Finding:
    await harness.empty()
    model = await harness.model()
    listing = await _listed(harness)
    entry = next((entry for entry in listing.entries if entry.get("modelName") == model.name), None)
    if entry is None and listing.nameless:
        return warned("It lists a model, but does not say which. The platform copes.", listing.exchange)
    if entry is None:
        return failed(f"It does not list the model that was loaded, {model.name}.", listing.exchange)
    return _described(model, entry, listing.exchange) or passed(exchange=listing.exchange)


def _described(model: Model, content: dict[str, object], answer: Exchange) -> Finding | None:
    """What is wrong with a model's description; empty if it is valid."""
    missing = [member for member in ("modelName", "modelUrl") if member not in content]
    if missing:
        return warned(f"It lacks {' and '.join(missing)}. The platform copes.", answer)
    if content["modelName"] != model.name:
        return failed(f"It has another name for {model.name}: {content['modelName']}.", answer)
    url = str(content["modelUrl"])
    if not url.rstrip("/").endswith(f"{model.name}/model"):
        return warned(f"The modelUrl is not the one of the load, but {url}. The platform copes.", answer)
    return None


async def list_pages(harness: Harness) -> Finding:
    models = [await harness.model(), *await harness.several(MODELS_LISTED - 1)]
    listing = await _listed(harness)
    names = listing.names()
    if listing.nameless:
        if len(listing.entries) == len(models):
            return warned("It lists as many models as there are, but does not say which.", listing.exchange)
        return failed(f"It lists {len(listing.entries)} of {len(models)} models.", listing.exchange)
    missing = [model.name for model in models if model.name not in names]
    if missing:
        return failed(
            f"{len(missing)} of {len(models)} models are on none of its {listing.pages} pages, such as {missing[0]}.",
            listing.exchange,
        )
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        return failed(f"{twice} is listed twice, on {listing.pages} pages.", listing.exchange)
    if listing.pages == 1:
        return passed(f"All {len(models)} models are on one page, without a token for a further one.", listing.exchange)
    return passed(f"{len(models)} models on {listing.pages} pages.", listing.exchange)


async def opaque_names(harness: Harness) -> Finding:
    names = (
        "".join(secrets.choice("0123456789") for _ in range(32)),  # as good a hash as any
        "0e" + new_name()[2:],  # and so is this
    )
    for name in names:
        model = await asyncio.to_thread(harness.models.copy, 0, name)
        answer = await harness.load(model)
        if not answer.ok:
            if (await harness.load(await asyncio.to_thread(harness.models.copy, 0))).ok:
                return failed(f"A model of the name {name} is refused, one of another name is not.", answer)
            return skipped("This check needs a loaded model, but loading one failed: see the check load.", answer)
        found = await harness.get(model)
        if is_unknown(found):
            return failed(f"The model was loaded as {name}, and is not found by that name.", found)
        invoked = await harness.invoke(model)
        if invoked.status == 404:
            return failed(f"The model was loaded as {name}, and cannot be invoked by that name.", invoked)
        listing = await harness.listing()
        if not listing.problem and not listing.nameless and name not in listing.names():
            return failed(f"The model was loaded as {name}, and is not listed by that name.", listing.exchange)
        unloaded = await harness.unload(model)
        if unloaded.status == 404:
            return failed(f"The model was loaded as {name}, and cannot be unloaded by that name.", unloaded)
    return passed(f"{', '.join(names)}")


async def concurrent_loads(harness: Harness) -> Finding:
    models = [await asyncio.to_thread(harness.models.copy) for _ in range(LOADS_AT_ONCE)]
    answers = await asyncio.gather(*(harness.load(model) for model in models))
    refused = [answer for answer in answers if not answer.ok]
    if len(refused) == len(answers):
        one = await harness.load(await asyncio.to_thread(harness.models.copy))
        if not one.ok:
            return skipped("This check needs models that load, and loading one failed: see the check load.", one)
    if refused and all(answer.status == 507 for answer in refused):
        return skipped(f"There is no memory for {LOADS_AT_ONCE} models: set more with --memory.", refused[0])
    if refused:
        return failed(f"Of {LOADS_AT_ONCE} models that were loaded at once, {len(refused)} failed.", refused[0])
    for model in models:
        found = await harness.get(model)
        if is_unknown(found):
            return failed(f"Of {LOADS_AT_ONCE} models that were loaded at once, one is not there.", found)
        invoked = await harness.invoke(model)
        if invoked.status == 404:
            return failed(f"Of {LOADS_AT_ONCE} models that were loaded at once, one cannot be invoked.", invoked)
    return passed(
        f"{LOADS_AT_ONCE} at once; the slowest took {max(answer.seconds for answer in answers):.2f} s.", answers[-1]
    )


async def _listed(harness: Harness) -> Listing:
    """The list of models. Ends the check if it is invalid."""
    listing = await harness.listing()
    if listing.problem == NO_LIST:  # as AWS's own container for TensorFlow Serving
        warn(
            f"{listing.problem[0].upper()}{listing.problem[1:]}. The platform looks at the status only.",
            listing.exchange,
        )
    if listing.problem:
        fail(f"{listing.problem[0].upper()}{listing.problem[1:]}.", listing.exchange)
    return listing


async def unload(harness: Harness) -> Finding:
    model = await harness.model()
    answer = await harness.unload(model)
    harness.loaded[model.name] = model  # if it was not unloaded, it has to be later
    if not answer.ok:
        return failed("A loaded model is unloaded with 200; this one stays, and takes memory.", answer)
    found = await harness.get(model)
    if found.status == 200:
        return failed("The model is still there after it was unloaded.", found)
    listing = await harness.listing()
    if model.name in listing.names():
        return failed("The model is still listed after it was unloaded.", listing.exchange)
    again = await harness.load(model)
    if not again.ok:
        return failed("A model that was unloaded stays on disk, and must load again. It does not.", again)
    if answer.status != 200:
        return warned("An unload is answered with 200.", answer)
    return passed("Unloaded, gone, and loaded again.", answer)


async def unknown_model_get(harness: Harness) -> Finding:
    answer = await harness.get(harness.unknown())
    if answer.status == 404:
        return passed(exchange=answer)
    if answer.ok or not 400 <= answer.status < 500:
        return failed("The answer for a model that is not loaded must be 404.", answer)
    return warned("The answer for a model that is not loaded must be 404. Another 4xx is understood as well.", answer)


async def unknown_model_unload(harness: Harness) -> Finding:
    answer = await harness.unload(harness.unknown())
    if answer.status == 404:
        return passed(exchange=answer)
    if answer.ok or 400 <= answer.status < 500:
        return warned(
            "The answer for a model that is not loaded must be 404. The platform copes: the model is gone.", answer
        )
    return failed(
        "To unload a model that is not loaded is answered with 404; this is an error of the container.", answer
    )
