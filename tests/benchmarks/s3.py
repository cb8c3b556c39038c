"""How fast objects go up and down, beside moto's server, and how much memory a large upload takes."""

from __future__ import annotations

import io
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.benchmarks.report import Report, run
from tests.support.emulator_process import Emulator
from tests.support.processes import most_memory
from tests.support.s3_servers import S3Server, client
from tests.support.waiting import eventually

MEGABYTE = 1 << 20
SMALL_OBJECTS = 300


class Endless(io.RawIOBase):
    """A file of so many bytes, all alike, that takes no memory."""

    def __init__(self, size: int) -> None:
        self._size, self._position = size, 0

    def read(self, count: int = -1) -> bytes:
        left = self._size - self._position
        count = left if count < 0 else min(count, left)
        self._position += count
        return b"x" * count

    def seek(self, offset: int, whence: int = 0) -> int:
        self._position = offset + (0, self._position, self._size)[whence]
        return self._position

    def tell(self) -> int:
        return self._position


def moto() -> tuple[subprocess.Popen[bytes], str]:
    """moto's server, as a process."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def answers() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    eventually(answers, what="moto answers")
    return process, f"http://127.0.0.1:{port}"


def seconds(call: Callable[[], Any]) -> float:
    os.sync()  # what the last round left to be written must not slow down this one
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def up(url: str, file: Path) -> float:
    return seconds(lambda: client(url).upload_file(str(file), "models", "large"))


def put(url: str, file: Path) -> float:
    with open(file, "rb") as data:
        return seconds(lambda: client(url).put_object(Bucket="models", Key="large", Body=data))


def down(url: str, file: Path) -> float:
    return seconds(lambda: client(url).download_file("models", "large", str(file.with_suffix(".back"))))


def read(url: str, _: Path) -> float:
    """One stream, without boto3, whose checks take longer than the sending."""
    address = client(url).generate_presigned_url("get_object", {"Bucket": "models", "Key": "large"})

    def whole() -> None:
        buffer = bytearray(MEGABYTE)
        with urllib.request.urlopen(address) as answer:
            while answer.readinto(buffer):
                pass

    return seconds(whole)


def small(url: str, _: Path) -> float:
    s3 = client(url)

    def all_of_them() -> None:
        for number in range(SMALL_OBJECTS):
            s3.put_object(Bucket="models", Key=f"small/{number}", Body=b"x" * 1000)
        for number in range(SMALL_OBJECTS):
            s3.get_object(Bucket="models", Key=f"small/{number}")["Body"].read()

    return seconds(all_of_them)


def growth(server: S3Server, gigabytes: float) -> float:
    """Megabytes by which the worker grows at most while it takes one upload."""
    size = int(gigabytes * 1024) * MEGABYTE
    with most_memory(server.process().worker()) as grown:
        server.client.put_object(Bucket="models", Key="endless", Body=Endless(size), ContentLength=size)
    server.client.delete_object(Bucket="models", Key="endless")
    return grown.bytes / 1e6


def main(report: Report, megabytes: int = 1024, rounds: int = 3) -> None:
    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory)
        file = work / "file"
        with open(file, "wb") as data:
            for _ in range(megabytes):
                data.write(os.urandom(MEGABYTE))
        (work / "s3" / "models").mkdir(parents=True)
        server = S3Server(work / "s3", work / "state", Emulator)
        other, other_url = moto()
        try:
            client(other_url).create_bucket(Bucket="models")
            report.add("resident memory while 2 GB are uploaded", f"+{growth(server, 2):.0f} MB", goal="at most +64 MB")
            for what, measure, goal in (
                (f"upload_file, {megabytes} MB", up, "better than moto"),
                (f"put_object, {megabytes} MB", put, "better than moto"),
                (f"download_file, {megabytes} MB", down, "better than moto"),
                (f"one GET, {megabytes} MB", read, "better than moto"),
                (f"put and get of {SMALL_OBJECTS} small objects", small, ""),
            ):
                # moto copies the whole object for each of the ranges that download_file asks for.
                repeated = 1 if measure is down else rounds
                times = [(measure(server.url, file), measure(other_url, file)) for _ in range(repeated)]
                ours, moto_took = (statistics.median(each) for each in zip(*times))
                report.add(what, f"{ours:.2f} s", f"moto {moto_took:.2f} s", moto_took / ours, goal)
        finally:
            server.stop()
            other.terminate()
            other.wait()


if __name__ == "__main__":
    run(main, __doc__, "size of the object", "how often each of the two moves it")
