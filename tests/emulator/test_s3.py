"""S3 as a process: what is left of it when it is killed, its memory, a disk that is full, two of them."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from botocore.exceptions import ClientError

from tests.support.emulator_process import Emulator
from tests.support.processes import most_memory
from tests.support.s3_servers import S3Server
from tests.support.waiting import eventually

MEGABYTE = 1 << 20
SIGNED = {"Authorization": "AWS4-HMAC-SHA256 Credential=placeholder/20260101/us-east-1/s3/aws4_request, Signature=0"}


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Callable[[], S3Server]]:
    """Starts servers over one directory, one after the other."""
    servers: list[S3Server] = []

    def start() -> S3Server:
        servers.append(S3Server(tmp_path / "s3", tmp_path / "state", Emulator))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


def kill(server: S3Server) -> None:
    """As kill -9 does it, to all of its processes at once."""
    for process in reversed(server.process().processes()):
        process.kill()
    server.process().wait()


def own_files(server: S3Server) -> list[Path]:
    """What is being written, and what waits to be put together."""
    return [
        path
        for name in ("incoming", "parts")
        for path in (server.root / ".localmme" / name).rglob("*")
        if path.is_file()
    ]


def test_a_killed_emulator_leaves_a_file_that_the_next_one_removes(own_server: Callable[[], S3Server]) -> None:
    server = own_server()
    server.client.create_bucket(Bucket="models")
    with socket.create_connection(server.address.split(":")) as connection:
        request = f"PUT /models/half HTTP/1.1\r\nHost: localhost\r\nContent-Length: {9 * MEGABYTE}\r\n"
        request += f"Authorization: {SIGNED['Authorization']}\r\n\r\n"
        connection.sendall(request.encode() + bytes(4 * MEGABYTE))
        eventually(lambda: own_files(server) and own_files(server)[0].stat().st_size > MEGABYTE)
        kill(server)
    assert len(own_files(server)) == 1
    assert "Contents" not in own_server().client.list_objects_v2(Bucket="models")
    assert own_files(server) == []


def test_two_emulators_leave_each_others_uploads_alone_and_a_signal_ends_one_in_mid_upload(
    own_server: Callable[[], S3Server], tmp_path: Path
) -> None:
    server = own_server()
    server.client.create_bucket(Bucket="models")
    with socket.create_connection(server.address.split(":")) as connection:
        request = f"PUT /models/slow HTTP/1.1\r\nHost: localhost\r\nContent-Length: {2 * MEGABYTE}\r\n"
        request += f"Authorization: {SIGNED['Authorization']}\r\n\r\n"
        connection.sendall(request.encode() + bytes(MEGABYTE + MEGABYTE // 2))
        eventually(lambda: own_files(server))
        other = S3Server(tmp_path / "s3", tmp_path / "other-state", Emulator)
        other.stop()
        connection.sendall(bytes(MEGABYTE // 2))
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
    assert server.client.head_object(Bucket="models", Key="slow")["ContentLength"] == 2 * MEGABYTE

    with socket.create_connection(server.address.split(":")) as connection:
        request = "PUT /models/half HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000000\r\n"
        request += f"Authorization: {SIGNED['Authorization']}\r\n\r\n"
        connection.sendall(request.encode() + bytes(4_000_000))
        eventually(lambda: own_files(server))
        server.process().signal(signal.SIGTERM)
        assert server.process().wait() == 0
    assert server.process().errors == []
    assert own_files(server) == []


@pytest.mark.skipif(not hasattr(psutil.Process, "rlimit"), reason="limits of another process are Linux's")
def test_a_large_upload_takes_little_memory_and_a_disk_that_takes_no_more_is_said(
    own_server: Callable[[], S3Server],
) -> None:
    server, size = own_server(), 128 * MEGABYTE
    server.client.create_bucket(Bucket="models")
    server.client.put_object(Bucket="models", Key="warm", Body=bytes(4 * MEGABYTE))
    # As fast as this machine can: without back-pressure, it would be faster than the checksums.
    with (
        most_memory(server.process().worker()) as grown,
        socket.create_connection(server.address.split(":")) as connection,
    ):
        request = f"PUT /models/large HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n"
        request += f"x-amz-checksum-sha256: {'A' * 43}=\r\nAuthorization: {SIGNED['Authorization']}\r\n\r\n"
        connection.sendall(request.encode())
        for _ in range(size // MEGABYTE):
            connection.sendall(bytes(MEGABYTE))
        assert connection.recv(100).startswith(b"HTTP/1.1 400")  # it is not that checksum
    assert grown.bytes < 64 * MEGABYTE
    assert own_files(server) == []

    server.process().worker().rlimit(psutil.RLIMIT_FSIZE, (5 * MEGABYTE, 5 * MEGABYTE))
    with pytest.raises(ClientError) as caught:
        server.client.put_object(Bucket="models", Key="a", Body=bytes(20 * MEGABYTE))
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 507
    assert "no room" in caught.value.response["Error"]["Message"]
    assert own_files(server) == []
    server.client.put_object(Bucket="models", Key="small", Body=b"x")
    assert [one["Key"] for one in server.client.list_objects_v2(Bucket="models")["Contents"]] == ["small", "warm"]
