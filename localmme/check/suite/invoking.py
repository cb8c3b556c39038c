"""Checks of invocations: what a model gets, and what it answers."""

from __future__ import annotations

import asyncio

from emulator.limits import FORMER_BODY_BYTES
from localmme.check.calls import Exchange
from localmme.check.finding import Finding, failed, passed, skipped, warned
from localmme.check.harness import Harness, TimeLimit

EVERY_BYTE = bytes(range(256)) * 4
MARK = 'localmme-Check="a b;C"'  # a parameter of a content type, which must stay as it is
INVOKERS = 4
FEW_BLANKS = 16
MOST_LOADS, LOADING_SECONDS = 5, 1.0  # during invocations


async def invoke(harness: Harness) -> Finding:
    model = await harness.model()
    answer = await harness.invoke(model)
    if answer.ok:
        return passed(exchange=answer)
    if answer.status == 404:
        return failed("404 means that the model is not loaded, but it is.", answer)
    if not answer.status:
        return failed("An invocation must be answered.", answer)
    if harness.sample.by_user:
        return failed(f"The sample request fails. {harness.running.last_words()}", answer)
    return skipped("The model needs another request: set it with --data and --content-type.", answer)


async def invoke_headers(harness: Harness) -> Finding:
    model = await harness.model()
    sample = await harness.invoked(model)
    # [api] The longest that the API takes.
    longest = [
        ("X-Amzn-SageMaker-Custom-Attributes", "a" * harness.limits.custom_attributes_characters),
        ("X-Amzn-SageMaker-Session-Id", "0f" * 128),
    ]
    answer = await harness.invoke(model, extra=longest)
    if not answer.ok:
        return failed("The model answers the sample, but not with the longest headers that there may be.", answer)
    # Callers may leave out both. What the model makes of it is its own affair, but it has to be answered.
    bare = await harness.invoke(model, no_headers=True)
    if not bare.status:
        return failed("A request without Content-Type and Accept must be answered.", bare)
    if bare.status == 404:
        return failed("Without Content-Type and Accept, a loaded model is not found.", bare)
    if sample.header("content-length") is None and sample.header("transfer-encoding") is None:
        return warned("The answer has no Content-Length, so each answer needs a new connection.", sample)
    return passed(exchange=answer)


async def invoke_content_type(harness: Harness) -> Finding:
    model = await harness.model()
    sample = await harness.invoked(model)
    if not sample.header("content-type"):
        return warned("The answer has no Content-Type: callers do not know what it is.", sample)
    marked = f"{harness.sample.content_type}; {MARK}"
    answer = await harness.invoke(model, content_type=marked)
    if not answer.status or answer.status == 404:
        return failed("With a parameter in the content type, the model is not found or does not answer.", answer)
    if not answer.ok:  # such as 415, or a handler that compares the whole: nothing that was not in the sample is owed
        return passed("The model refuses a parameter in its content type, which is its own affair.", answer)
    got = answer.header("content-type") or ""
    if MARK.partition("=")[0].lower() in got.lower() and marked not in got:
        return failed(f"The content type {marked!r} has come back as {got!r}.", answer)
    text = answer.body.decode("utf-8", "replace")
    if MARK.partition("=")[0].lower() in text.lower() and MARK not in text.replace('\\"', '"'):
        return failed(f"The content type {marked!r} is not what the model got.", answer)
    accept = harness.sample.accept.partition(";")[0].strip().lower()
    if accept and "*" not in accept and "," not in accept and not got.lower().startswith(accept):
        return warned(f"{harness.sample.accept} was to be accepted, but the answer is {got!r}.", answer)
    return passed(f"The answer is {sample.header('content-type')}.", answer)


async def invoke_binary(harness: Harness) -> Finding:
    model = await harness.model()
    answer = await harness.invoke(model, EVERY_BYTE, "application/octet-stream")
    if not answer.status:
        return failed("A request of every kind of byte must be answered, if only with an error.", answer)
    if answer.status == 404:
        return failed("A loaded model is not found.", answer)
    sample = await harness.invoke(model)
    if sample.ok and sample.body == harness.sample.body and answer.ok and answer.body != EVERY_BYTE:
        return failed(
            f"The model answers with what it is sent, but of {len(EVERY_BYTE)} bytes of every kind {len(answer.body)} "
            "came back changed.",
            answer,
        )
    if not answer.ok:
        return passed("The model refuses it, which is its own affair; the container answers.", answer)
    return passed(f"{len(EVERY_BYTE)} bytes of every kind.", answer)


async def invoke_large(harness: Harness) -> Finding:
    model = await harness.model()
    limit = FORMER_BODY_BYTES
    # White space is allowed in most of what is text.
    body = harness.sample.body.ljust(limit)
    answer = await harness.invoke(model, body)
    if not answer.status:
        return failed(f"A request of {limit:,} bytes must be answered.", answer)
    if answer.status in (413, 431):
        return failed(f"A request of {limit:,} bytes is refused as too large; SageMaker sends up to 25 MB.", answer)
    sample = await harness.invoke(model)
    if sample.ok and sample.body == harness.sample.body and answer.ok and answer.body != body:
        return failed(
            f"The model answers with what it is sent, but of {limit:,} bytes {len(answer.body):,} came back.", answer
        )
    if sample.ok and not answer.ok:
        padded = await harness.invoke(model, harness.sample.body + b" " * FEW_BLANKS)
        if not padded.ok:
            return passed("The model refuses blanks, which is its own affair; the container answers.", answer)
        return warned(
            f"The model answers the sample, but not when it is filled up with blanks to {limit:,} bytes.", answer
        )
    if not answer.ok:
        return passed("The model refuses it, which is its own affair; the container answers.", answer)
    return passed(f"{limit:,} bytes in {answer.seconds:.2f} s.", answer)


async def unknown_model_invoke(harness: Harness) -> Finding:
    answer = await harness.invoke(harness.unknown())
    if answer.status == 404:
        return passed(exchange=answer)
    return failed(
        "By a 404 the platform knows that a model is not loaded, and loads it. This answer goes to the caller.", answer
    )


async def load_while_invoking(harness: Harness) -> Finding:
    model = await harness.model()
    before = await harness.invoke(model)
    if not before.status or before.status == 404:
        return skipped("This check needs a model that can be invoked: see the check invoke.", before)
    wrong: list[Exchange] = []
    count, done = 0, False

    async def invoke() -> None:
        nonlocal count
        while not done:
            answer = await harness.invoke(model)
            count += 1
            if answer.status != before.status:
                wrong.append(answer)
                return

    invokers = [asyncio.create_task(invoke()) for _ in range(INVOKERS)]
    try:
        loads: list[Exchange] = []
        clock = TimeLimit(LOADING_SECONDS)
        while not loads or (loads[-1].ok and len(loads) < MOST_LOADS and not clock.is_up):
            other = await asyncio.to_thread(harness.models.copy)
            loads.append(await harness.load(other))
            await asyncio.sleep(0.05)  # some invocations when it is through, too
    finally:
        done = True
        await asyncio.wait(invokers, timeout=harness.limits.invocation_seconds)
        for invoker in invokers:
            invoker.cancel()
    if wrong:
        return failed(f"An invocation was answered otherwise while another model loaded, one of {count}.", wrong[0])
    bad = next((answer for answer in loads if not answer.ok), None)
    if bad is not None and bad.status == 507:
        return skipped("There is no memory for a second model: set more with --memory.", bad)
    if bad is not None:
        return failed("A model cannot be loaded while another one is invoked.", bad)
    return passed(f"{count} invocations during {len(loads)} loads, all answered with {before.status}.", loads[-1])
