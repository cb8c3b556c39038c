"""Checks of requests that the platform sends rarely or never: they must not end the container."""

from __future__ import annotations

from emulator.containers.http_connection import Answer
from emulator.hosting.metrics_scraping import problem_of
from localmme.check.finding import Finding, failed, passed, warned
from localmme.check.harness import Harness

METRICS = "/metrics"  # [api] the default path of ContainerMetricsConfig
PATHS = (("GET", "/"), ("GET", "/no/such/path"), ("POST", "/no-such-path"), ("DELETE", "/models"), ("PUT", "/models"))
BROKEN = (
    b'{"model_name": ',
    b"",
    b"\xff\xfe\x00",
    b"[]",
    b'{"model_name": 1, "url": null}',
    b'{"url": "/opt/ml/models"}',
)


async def metrics(harness: Harness) -> Finding:
    answer = await harness.call("GET", METRICS)
    if not answer.status:
        return warned("A container without metrics of its own answers so, with 404 for instance.", answer)
    if not answer.ok:
        return passed(f"It has none at {METRICS}, and needs none.", answer)
    if problem := problem_of(Answer(answer.status, [], answer.body)):
        return warned(f"With ContainerMetricsConfig, SageMaker would publish none: {problem}.", answer)
    return passed("They can be read: ContainerMetricsConfig has SageMaker publish them.", answer)


async def unknown_path(harness: Harness) -> Finding:
    odd = None
    for method, path in PATHS:
        answer = await harness.call(method, path)
        if not answer.status:
            return failed("A path that is not in the contract must be answered, with 404 for instance.", answer)
        if path != "/" and answer.status < 400:
            odd = answer
    ping = await harness.ping()
    if ping.status != 200:
        return failed("After calls of paths that are not in the contract, pings fail.", ping)
    if odd is not None:
        return warned("A path that is not in the contract is an error. The platform calls none.", odd)
    return passed(exchange=answer)


async def broken_json(harness: Harness) -> Finding:
    odd = None
    before = await harness.listing()
    for body in BROKEN:
        answer = await harness.post_models(body)
        if answer.ok:
            return failed("A load that says nothing of a model is answered as if there were one.", answer)
        if not answer.status:
            odd = answer
    ping = await harness.ping()
    if ping.status != 200:
        return failed("After loads in broken JSON, pings fail.", ping)
    listing = await harness.listing()
    if len(listing.entries) > len(before.entries):
        return failed("After loads in broken JSON, there are more models in the list.", listing.exchange)
    if odd is not None:
        return warned("A load in broken JSON is answered with an error. The platform sends none.", odd)
    return passed(f"{len(BROKEN)} kinds, each an error.", answer)
