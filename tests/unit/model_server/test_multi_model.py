"""The contract of a multi-model container: what each request is answered, while models come, work, and go."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path

import pytest

from emulator.model_server.http.response import RequestError
from tests.support.fake_workers import GRACE_SECONDS, FakeWorkers
from tests.support.virtual_time import in_virtual_time


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> FakeWorkers:
    return FakeWorkers(monkeypatch)


def now() -> float:
    return asyncio.get_running_loop().time()


# What is answered


def test_a_model_is_loaded_listed_found_invoked_and_unloaded(workers: FakeWorkers) -> None:
    async def main() -> None:
        server = workers.server()
        assert await server.call("GET", "/models") == (200, {"models": []})
        assert await server.load("m", "/") == 200
        described = {"modelName": "m", "modelUrl": "/"}
        assert await server.call("GET", "/models") == (200, {"models": [described]})
        assert await server.call("GET", "/models/m") == (200, described)
        assert await server.invoke("m", b"x") == (200, b"answer to x")
        assert await server.call("DELETE", "/models/m") == (200, {"status": 'Model "m" unloaded'})
        assert await server.page() == ([], None)
        assert [worker.end for worker in workers.all] == ["shut down"]

    in_virtual_time(main())


@pytest.mark.parametrize(
    "method, path, status, kind",
    [
        ("GET", "/", 404, "ResourceNotFoundException"),
        ("GET", "/nothing", 404, "ResourceNotFoundException"),
        ("GET", "/models/", 404, "ResourceNotFoundException"),
        ("POST", "/models/m/explain", 404, "ResourceNotFoundException"),
        ("POST", "/models/m/invoke/more", 404, "ResourceNotFoundException"),
        ("GET", "/ping/", 404, "ResourceNotFoundException"),
        ("GET", "/models/m", 404, "ModelNotFoundException"),
        ("DELETE", "/models/m", 404, "ModelNotFoundException"),
        ("POST", "/models/m/invoke", 404, "ModelNotFoundException"),
        ("POST", "/ping", 405, "MethodNotAllowedException"),
        ("HEAD", "/ping", 405, "MethodNotAllowedException"),
        ("PUT", "/models", 405, "MethodNotAllowedException"),
        ("DELETE", "/models", 405, "MethodNotAllowedException"),
        ("POST", "/models/m", 405, "MethodNotAllowedException"),
        ("GET", "/models/m/invoke", 405, "MethodNotAllowedException"),
    ],
)
def test_what_is_not_there_is_not_found_and_other_methods_are_not_allowed(
    workers: FakeWorkers, method: str, path: str, status: int, kind: str
) -> None:
    async def main() -> None:
        found, error = await workers.server().call(method, path)
        assert (found, error["code"], error["type"]) == (status, status, kind)

    in_virtual_time(main())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"null",
        b'"m"',
        b"{}",
        b'{"model_name": "m"}',
        b'{"url": "/"}',
        b'{"model_name": "", "url": "/"}',
        b'{"model_name": 1, "url": "/"}',
        b'{"model_name": "m", "url": ["/"]}',
    ],
)
def test_a_load_request_that_makes_no_sense_is_a_bad_request(workers: FakeWorkers, body: bytes) -> None:
    async def main() -> None:
        status, error = await workers.server().call("POST", "/models", body)
        assert (status, error["type"]) == (400, "BadRequestException")

    in_virtual_time(main())
    assert workers.all == []


def test_a_directory_that_does_not_exist_is_not_found(workers: FakeWorkers, tmp_path: Path) -> None:
    async def main() -> None:
        server = workers.server()
        (tmp_path / "file").touch()
        assert [await server.load("m", str(tmp_path / path)) for path in ("nowhere", "file")] == [404, 404]
        assert (await server.call("GET", "/models/m"))[0] == 404

    in_virtual_time(main())


# Pages


def test_models_are_listed_a_hundred_to_a_page(workers: FakeWorkers) -> None:
    async def main() -> None:
        server = workers.server()
        names = [f"m{number:03}" for number in range(110)]
        assert {*await asyncio.gather(*map(server.load, reversed(names)))} == {200}
        first, token = await server.page()
        assert first == names[:100]
        assert await server.page(f"next_page_token={token}") == (names[100:], None)
        assert (await server.page("limit=1000"))[0] == names[:100]

    in_virtual_time(main())


def test_a_page_token_stays_valid_while_models_come_and_go(workers: FakeWorkers) -> None:
    async def main() -> None:
        server = workers.server()
        for name in "bdfh":
            await server.load(name)
        names, token = await server.page("limit=2")
        assert names == ["b", "d"]
        for name in "bd":
            await server.unload(name)
        for name in "ag":
            await server.load(name)
        names, token = await server.page(f"limit=2&next_page_token={token}")
        assert names == ["f", "g"]
        assert await server.page(f"limit=2&next_page_token={token}") == (["h"], None)

    in_virtual_time(main())


@pytest.mark.parametrize("query", ["next_page_token=~", "next_page_token=_w", "limit=0", "limit=x", "limit=-1"])
def test_a_page_that_cannot_be_is_a_bad_request(workers: FakeWorkers, query: str) -> None:
    async def main() -> None:
        assert (await workers.server().call("GET", "/models", query=query))[0] == 400

    in_virtual_time(main())


# Models come and go


def test_a_model_that_is_there_or_on_its_way_is_a_conflict(workers: FakeWorkers) -> None:
    async def main() -> None:
        server = workers.server()
        loading = asyncio.ensure_future(server.load("m"))
        await asyncio.sleep(1)
        assert await server.load("m") == 409
        # It is not there yet.
        assert await server.page() == ([], None)
        assert (await server.call("GET", "/models/m"))[0] == (await server.invoke("m"))[0] == 404
        assert await loading == 200
        assert await server.load("m") == 409
        assert (await server.invoke("m"))[0] == 200
        assert len(workers.all) == 1

    in_virtual_time(main())


@pytest.mark.parametrize("status", [500, 507])
def test_a_model_that_cannot_be_loaded_leaves_nothing(workers: FakeWorkers, status: int) -> None:
    async def main() -> None:
        server = workers.server(per_model=3)
        workers.cannot_load = RequestError(status, "InternalServerException", "no room")
        assert await server.load("m") == status
        assert [worker.end for worker in workers.all] == ["killed"] * 3
        workers.cannot_load = None
        assert await server.load("m") == 200

    in_virtual_time(main())


def test_a_load_and_an_unload_go_on_when_their_callers_leave(workers: FakeWorkers) -> None:
    async def main() -> None:
        server = workers.server()
        for call, names in ((server.load, ["m"]), (server.unload, [])):
            caller = asyncio.ensure_future(call("m"))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            caller.cancel()
            await asyncio.sleep(5)
            assert await server.page() == (names, None)

    in_virtual_time(main())


def test_an_unload_stops_a_load_under_way(workers: FakeWorkers) -> None:
    async def main() -> None:
        server = workers.server()
        loading = asyncio.ensure_future(server.load("m"))
        await asyncio.sleep(1)
        assert await server.unload("m") == 200
        assert (await loading, now()) == (500, 1)
        assert [worker.end for worker in workers.all] == ["killed"]

    in_virtual_time(main())


@pytest.mark.parametrize(
    "answer_seconds, answered, ended, after",
    [(5, 200, "shut down", 5), (2 * GRACE_SECONDS, 500, "killed", GRACE_SECONDS)],
)
def test_an_unload_waits_for_invocations_under_way_but_not_for_ever(
    workers: FakeWorkers, answer_seconds: float, answered: int, ended: str, after: float
) -> None:
    async def main() -> None:
        server = workers.server()
        await server.load("m")
        workers.answer_seconds = answer_seconds
        under_way = asyncio.ensure_future(server.invoke("m"))
        await asyncio.sleep(0)
        began = now()
        unloads = [asyncio.ensure_future(server.unload("m")) for _ in range(2)]
        await asyncio.sleep(1)
        assert (await server.invoke("m"))[0] == 404  # it takes no more
        assert await server.load("m") == 409
        assert await asyncio.gather(*unloads) == [200, 200]
        assert now() - began == after
        assert ((await under_way)[0], workers.all[0].end) == (answered, ended)

    in_virtual_time(main())


def test_an_unload_does_not_wait_for_what_nobody_waits_for(workers: FakeWorkers) -> None:
    async def main() -> None:
        server = workers.server()
        await server.load("m")
        workers.answer_seconds = 10
        caller = asyncio.ensure_future(server.invoke("m"))
        await asyncio.sleep(1)
        caller.cancel()
        await asyncio.sleep(0)
        assert (await server.unload("m"), now()) == (200, 3)
        assert workers.all[0].end == "killed"

    in_virtual_time(main())


# Models at work


@pytest.mark.parametrize("per_model, seconds", [(1, 5), (2, 3), (5, 1)])
def test_the_workers_of_a_model_share_its_invocations_first_come_first_served(
    workers: FakeWorkers, per_model: int, seconds: float
) -> None:
    async def main() -> None:
        server = workers.server(per_model)
        await server.load("m")
        began = now()
        answers = await asyncio.gather(*(server.invoke("m", b"%d" % number) for number in range(5)))
        assert answers == [(200, b"answer to %d" % number) for number in range(5)]
        assert now() - began == seconds
        assert workers.invoked == ["0", "1", "2", "3", "4"]

    in_virtual_time(main())


def test_a_load_whose_caller_has_gone_may_fail_without_a_traceback_in_the_log(
    workers: FakeWorkers, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        server = workers.server()
        caller = asyncio.ensure_future(server.load("m"))
        await asyncio.sleep(1)
        caller.cancel()
        await asyncio.sleep(0)
        assert await server.unload("m") == 200
        await asyncio.sleep(1)

    in_virtual_time(main())
    gc.collect()  # by which asyncio sees that nobody has looked at an error
    assert not caplog.records


def test_an_invocation_whose_caller_left_the_queue_is_not_run(workers: FakeWorkers) -> None:
    async def main() -> None:
        server = workers.server()
        await server.load("m")
        first, ghost, last = (asyncio.ensure_future(server.invoke("m", body)) for body in (b"1", b"ghost", b"2"))
        await asyncio.sleep(0.5)
        ghost.cancel()
        await asyncio.gather(first, last)
        assert workers.invoked == ["1", "2"]

    in_virtual_time(main())


def test_when_its_last_worker_dies_the_model_is_no_longer_loaded_and_the_queue_finds_none(
    workers: FakeWorkers,
) -> None:
    async def main() -> None:
        server = workers.server()
        await server.load("m")
        calls = [asyncio.ensure_future(server.invoke("m")) for _ in range(3)]
        await asyncio.sleep(0.5)
        workers.all[0].die()
        assert [(await call)[0] for call in calls] == [500, 404, 404]
        assert await server.page() == ([], None)
        assert await server.load("m") == 200

    in_virtual_time(main())


def test_when_one_of_several_workers_dies_the_model_goes_on_with_the_others(workers: FakeWorkers) -> None:
    async def main() -> None:
        server = workers.server(per_model=2)
        await server.load("m")
        workers.all[0].die()  # while it was idle
        calls = [asyncio.ensure_future(server.invoke("m")) for _ in range(3)]
        assert [(await call)[0] for call in calls] == [200, 200, 200]
        assert (await server.page())[0] == ["m"]

    in_virtual_time(main())


def test_the_end_of_the_server_unloads_all(workers: FakeWorkers) -> None:
    async def main() -> None:
        server = workers.server()
        for name in ("a", "b"):
            await server.load(name)
        under_way = asyncio.ensure_future(server.invoke("a"))
        await asyncio.sleep(0)
        await server.stop()
        assert (await under_way)[0] == 200
        assert await server.page() == ([], None)
        assert [worker.end for worker in workers.all] == ["shut down", "shut down"]

    in_virtual_time(main())


# Handlers that change


@pytest.fixture
def handler(tmp_path: Path) -> Path:
    file = tmp_path / "code" / "inference.py"
    file.parent.mkdir()
    file.touch()
    return file


def test_a_load_that_never_ends_is_ended_when_its_handler_changes_again(workers: FakeWorkers, handler: Path) -> None:
    async def main() -> None:
        server = workers.server(reload=True)
        assert await server.load("m", str(handler.parent.parent)) == 200
        handler.write_text("first")
        usual, workers.load_seconds = workers.load_seconds, 1e9
        first = asyncio.ensure_future(server.invoke("m"))
        await asyncio.sleep(1)
        handler.write_text("second edit")
        workers.load_seconds = usual
        both = await asyncio.gather(first, server.invoke("m"))
        assert [status for status, _ in both] == [200, 200]
        await asyncio.sleep(0)
        assert [worker.end for worker in workers.all] == ["shut down", "killed", ""]

    in_virtual_time(main())


def test_callers_of_a_handler_that_cannot_be_loaded_share_the_attempt(workers: FakeWorkers, handler: Path) -> None:
    async def main() -> None:
        server = workers.server(reload=True)
        assert await server.load("m", str(handler.parent.parent)) == 200
        handler.write_text("first")
        workers.cannot_load = RequestError(500, "InternalServerException", "broken")
        answers = await asyncio.gather(server.invoke("m"), server.invoke("m"))
        assert [status for status, _ in answers] == [500, 500] and len(workers.all) == 2
        workers.cannot_load = None
        assert (await server.invoke("m"))[0] == 200

    in_virtual_time(main())


def test_a_load_that_never_ends_goes_with_its_model(workers: FakeWorkers, handler: Path) -> None:
    async def main() -> None:
        server = workers.server(reload=True)
        assert await server.load("m", str(handler.parent.parent)) == 200
        handler.write_text("first")
        workers.load_seconds = 1e9
        waiting = asyncio.ensure_future(server.invoke("m"))
        await asyncio.sleep(1)
        assert await server.unload("m") == 200
        assert (await waiting)[0] == 404
        assert [worker.end for worker in workers.all] == ["shut down", "killed"]

    in_virtual_time(main())
