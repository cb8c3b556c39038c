"""What the platform does not send must not end a container either: it holds everybody's models."""

from __future__ import annotations

from localmme.check.bench import Bench
from localmme.check.finding import Finding, failed, passed, warned

PATHS = (("GET", "/"), ("GET", "/no/such/path"), ("POST", "/no-such-path"), ("DELETE", "/models"), ("PUT", "/models"))
BROKEN = (
    b'{"model_name": ',
    b"",
    b"\xff\xfe\x00",
    b"[]",
    b'{"model_name": 1, "url": null}',
    b'{"url": "/opt/ml/models"}',
)


async def unknown_path(bench: Bench) -> Finding:
    odd = None
    for method, path in PATHS:
        answer = await bench.call(method, path)
        if not answer.status:
            return failed("A path that is not in the contract must be answered, with 404 for instance.", answer)
        if path != "/" and answer.status < 400:
            odd = answer
    ping = await bench.ping()
    if ping.status != 200:
        return failed("After calls of paths that are not in the contract, pings fail.", ping)
    if odd is not None:
        return warned("A path that is not in the contract is an error. The platform calls none.", odd)
    return passed(exchange=answer)


async def broken_json(bench: Bench) -> Finding:
    odd = None
    before = await bench.listing()
    for body in BROKEN:
        answer = await bench.post_models(body)
        if answer.ok:
            return failed("A load that says nothing of a model is answered as if there were one.", answer)
        if not answer.status:
            odd = answer
    ping = await bench.ping()
    if ping.status != 200:
        return failed("After loads in broken JSON, pings fail.", ping)
    listing = await bench.listing()
    if len(listing.entries) > len(before.entries):
        return failed("After loads in broken JSON, there are more models in the list.", listing.exchange)
    if odd is not None:
        return warned("A load in broken JSON is answered with an error. The platform sends none.", odd)
    return passed(f"{len(BROKEN)} kinds, each an error.", answer)
