"""A thousand models, memory for twenty, sixty-four clients, for a while: none lost, none wrong, nothing left."""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.support.emulator_process import Emulator
from tests.support.files import archive
from tests.support.waiting import eventually

MODELS, CLIENTS, SECONDS = 1000, 64, 4  # at least, until a model has been loaded again
FIT = 20  # models that the memory is for
MEGABYTES_PER_MODEL = 24
# For as many, each with the 3 MB that a worker process takes beside its ballast, plus the server's own 50 MB; a tenth
# of the budget is never loaded into.
MEMORY = "650MB"

HANDLER = f'''
import fcntl, os

class Handler:
    """Answers what only its own model can: its secret, and the sum of it and the request's number."""

    def initialize(self, context):
        directory = context.system_properties["model_dir"]
        self.secret = int(open(os.path.join(directory, "secret")).read())
        # A lock for as long as this process lives: a second copy of the model could not get it.
        self.lock = open(os.path.join(os.environ["LOCKS"], str(self.secret)), "w")
        fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.ballast = bytearray(b"x") * ({MEGABYTES_PER_MODEL} * 1024 * 1024)

    def handle(self, data, context):
        return [str(self.secret + int(bytes(data[0]["body"])))]
'''


def secret(number: int) -> int:
    return number * 1_000_003


class Client(threading.Thread):
    """Invokes models, popular ones far more often than others, and checks each answer."""

    def __init__(self, emulator: Emulator, seed: int, done: threading.Event) -> None:
        super().__init__()
        self.emulator, self.random, self.done = emulator, random.Random(seed), done
        self.outcomes: Counter[str] = Counter()
        self.models: set[int] = set()

    def run(self) -> None:
        connection = http.client.HTTPConnection(self.emulator.url.removeprefix("http://"), timeout=90)
        while not self.done.is_set():
            number = min(int(self.random.paretovariate(0.5)) - 1, MODELS - 1)
            addend = self.random.randrange(1000)
            headers = {"X-Amzn-SageMaker-Target-Model": f"{number}.tar.gz", "Content-Type": "application/octet-stream"}
            connection.request("POST", "/endpoints/local/invocations", str(addend).encode(), headers)
            answer = connection.getresponse()
            body = answer.read()
            right = answer.status == 200 and int(body) == secret(number) + addend
            self.outcomes["right" if right else f"{answer.status} {body[:300]!r}"] += 1
            self.models.add(number)
        connection.close()


@pytest.mark.timeout(180)
def test_a_thousand_models_under_load(serve, bucket: Path, tmp_path: Path) -> None:
    handler = tmp_path / "handler.py"
    handler.write_text(HANDLER)
    for number in range(MODELS):
        archive(bucket / f"{number}.tar.gz", {"secret": str(secret(number))})
    (tmp_path / "locks").mkdir()
    locks = f"LOCKS={tmp_path}/locks"
    emulator = serve("--models", str(bucket), "--handler", f"{handler}:Handler", "--memory", MEMORY, "--env", locks)

    done, began = threading.Event(), time.monotonic()
    clients = [Client(emulator, seed, done) for seed in range(CLIENTS)]
    for client in clients:
        client.start()
    most_loaded = most_used = most_loads = 0
    while time.monotonic() < began + SECONDS or most_loads < 2:
        state = emulator.state()
        memory = state["variants"][0]["instances"][0]["memory"]
        most_loaded = max(most_loaded, len(memory["models"]))
        most_used = max(most_used, memory["used_bytes"])
        most_loads = max(model["loads"] for model in state["models"])
        time.sleep(0.5)
    done.set()
    for client in clients:
        client.join(90)

    outcomes = sum((client.outcomes for client in clients), Counter())
    touched = set().union(*(client.models for client in clients))
    print(f"{outcomes['right']} invocations of {len(touched)} models, at most {most_loaded} loaded, {most_used} bytes")
    assert set(outcomes) == {"right"}, outcomes.most_common(3)
    assert not any(client.is_alive() for client in clients)
    assert most_loaded <= FIT * 1.2
    assert most_used <= emulator.instance()["memory"]["budget_bytes"]
    models = {model["target_model"]: model for model in emulator.state()["models"]}
    assert sum(model["invocations"] for model in models.values()) == outcomes["right"]
    assert all(model["downloads"] <= 1 for model in models.values())
    assert len(touched) > FIT

    processes = emulator.processes()
    assert emulator.stop() == 0
    eventually(lambda: not any(process.is_running() for process in processes))
    assert not list((emulator.state_directory / "instances").glob("*"))
