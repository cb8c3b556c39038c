"""S3 over HTTP, an ASGI application: bodies are streamed both ways, and only threads touch files."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from emulator.aws.arn import ACCOUNT_ID
from emulator.aws.asgi import Headers, Receive, Send, send_answer
from emulator.aws.errors import AwsError
from emulator.aws.protocols import id_headers, send_error
from emulator.aws.request import AwsRequest
from emulator.services.s3.addressing import bucket_and_key, check_expiry, headers_of
from emulator.services.s3.aws_chunked import AwsChunked
from emulator.services.s3.body import Body
from emulator.services.s3.call import S3Answer, S3Call, UploadSink
from emulator.services.s3.errors import NotModified, incomplete_body, internal_error, not_yours
from emulator.services.s3.object_headers import algorithms, expectations
from emulator.services.s3.operations import handler_of, objects_read, takes_data
from emulator.services.s3.storage_errors import s3_error
from emulator.storage.checksums import HEADER, LENGTHS, Digests
from emulator.storage.errors import NoSuchBucket, StorageError
from emulator.storage.keys import RESERVED, can_be_created
from emulator.storage.multipart_uploads import MultipartUploads
from emulator.storage.object_files import is_bucket
from emulator.storage.object_store import ObjectStore, open_store
from emulator.storage.read_through import ReadThrough

THREADS = 8
SENT_AT_ONCE = 1 << 20  # bytes read from a file and sent at a time
DOCUMENT_BYTES = 4 << 20  # the longest: CompleteMultipartUpload with 10,000 parts and their checksums
MOST_MISSED = 100  # buckets
PATIENCE_SECONDS = 1.0  # what takes longer is logged

log = logging.getLogger("localmme")
T = TypeVar("T")


class S3App:
    """The S3 API over a directory of buckets. Nothing is written there before the first request to S3."""

    def __init__(self, root: Path, region: str = "us-east-1", read_through: ReadThrough | None = None) -> None:
        """``region`` is the region of buckets that users make as directories."""
        self._root, self._region = root, region
        self._read_through = read_through
        self._missed: set[str] = set()  # buckets, of which it has been said that they can be read through
        self._opening: asyncio.Future[tuple[ObjectStore, MultipartUploads]] | None = None
        self._threads = ThreadPoolExecutor(THREADS, "s3")
        self._has_stopped = False

    async def start(self) -> None:
        """Remove the unfinished files of a killed emulator."""
        if await self._in_thread((self._root / RESERVED).exists):
            opening = asyncio.ensure_future(self._open())
            done, _ = await asyncio.wait([opening], timeout=PATIENCE_SECONDS)
            if not done:
                log.warning("Checking which objects in %s are unchanged since they were recorded ...", self._root)
            await opening

    async def stop(self) -> None:
        """Close the threads and the file of records. No request may be under way."""
        store = (await self._open())[0] if self._opening else None
        self._has_stopped = True
        await asyncio.get_running_loop().run_in_executor(None, self._threads.shutdown)
        if store is not None:
            store.close()

    async def store(self) -> ObjectStore:
        """The directory's objects, for what stores some without a request. Not after ``stop``."""
        return (await self._open())[0]

    async def has_bucket(self, name: str) -> bool:
        """Whether a bucket of that name exists now, or may exist in real S3."""
        if self._read_through is not None and self._read_through.covers(name):
            return True
        if self._has_stopped:  # and its threads: the request only gets that answer, in S3's form
            return is_bucket(self._root, name)
        return await self._in_thread(is_bucket, self._root, name)

    async def put(self, bucket: str, key: str, pieces: Iterable[bytes]) -> None:
        """Make an object of these bytes, on behalf of the emulator itself. They come from a thread. Raises AwsError."""
        store = (await self._open())[0]
        try:
            if self._read_through is not None:
                await self._in_thread(self._read_through.bring_bucket, bucket)
            await self._in_thread(store.put, bucket, key, pieces)
        except StorageError as error:
            raise s3_error(error) from error

    async def __call__(self, request: AwsRequest, receive: Receive, send: Send) -> None:
        body, answer = Body(receive), S3Answer()
        failure: AwsError | None = None
        try:
            try:
                answer = await self._answer(request, body)
            except NotModified as error:
                answer = S3Answer(error.status, error.headers)
            except AwsError as error:
                failure = error
            except StorageError as error:
                failure = s3_error(error)
            except Exception:
                log.exception("S3 request %s failed inside the emulator", request.id)
                failure = internal_error()
            more: Headers = []
            if not body.is_complete:
                if body.has_begun or not request.expects_continue:
                    await body.drop()
                else:  # the caller has not sent its body
                    more.append((b"connection", b"close"))
            if failure is not None:
                await send_error(request, failure, send, more)
            else:
                await self._send(request, answer, send, more)
        finally:
            if answer.file is not None:
                answer.file.close()

    async def _open(self) -> tuple[ObjectStore, MultipartUploads]:
        if self._opening is None:
            self._opening = asyncio.ensure_future(self._in_thread(self._make_store))
        return await asyncio.shield(self._opening)

    def _make_store(self) -> tuple[ObjectStore, MultipartUploads]:
        self._root.mkdir(parents=True, exist_ok=True)
        store = open_store(self._root, self._region) if self._read_through is None else self._read_through.store
        uploads = MultipartUploads(store)
        store.sweep()
        uploads.sweep()
        return store, uploads

    async def _answer(self, request: AwsRequest, body: Body) -> S3Answer:
        (bucket, key), headers = bucket_and_key(request), headers_of(request)
        if (
            request.caller is None or "authorization" in headers
        ):  # else access control has checked it, with the signature
            check_expiry(request.query)
        if headers.get("x-amz-expected-bucket-owner", ACCOUNT_ID) != ACCOUNT_ID:
            raise not_yours(bucket)
        store, uploads = await self._open()
        call = S3Call(store, uploads, request.method, bucket, key, request.query, headers, region=request.signed_region)
        call.read_through = self._read_through
        if request.caller is not None:
            call.check_key, call.chunk_signatures = request.caller.check_key, request.caller.chunk_signatures
        await self._bring(call)
        if bucket and request.method != "PUT" and not await self._in_thread(is_bucket, self._root, bucket):
            self._advise(call)
            raise NoSuchBucket(bucket)
        handler = handler_of(call)
        if takes_data(handler):
            sink = await self._in_thread(handler, call)
            assert isinstance(sink, UploadSink)
            try:
                await self._receive(call, body, sink)
                return await self._in_thread(sink.finish)
            finally:
                await self._in_thread(sink.incoming.discard)
        call.body = await self._document(call, body)
        answer = await self._in_thread(handler, call)
        assert isinstance(answer, S3Answer)
        return answer

    async def _bring(self, call: S3Call) -> None:
        """Bring here what the request reads, if it is in real S3."""
        if self._read_through is None:
            return
        for bucket, key in objects_read(call):
            download = await self._in_thread(self._read_through.bring, bucket, key)
            if download is not None:
                try:
                    await asyncio.shield(asyncio.wrap_future(download))  # others may wait for it
                except OSError as error:
                    raise s3_error(error) from error

    def _advise(self, call: S3Call) -> None:
        """Log, once for each bucket, how one of real S3 is read."""
        reads = call.method == "GET" or (call.method == "HEAD" and call.key)
        is_read_through = call.read_through is not None and call.read_through.covers(call.bucket)
        if (
            reads
            and not is_read_through
            and can_be_created(call.bucket)
            and ACCOUNT_ID not in call.bucket
            and call.bucket not in self._missed
            and len(self._missed) < MOST_MISSED
        ):
            self._missed.add(call.bucket)
            log.warning(
                "There is no bucket %s in %s. If it is one of real S3, serve --s3-read-through %s reads from it.",
                call.bucket, self._root, call.bucket,
            )  # fmt: skip

    async def _receive(self, call: S3Call, body: Body, sink: UploadSink) -> None:
        """Write a batch of the body while the next one is received."""
        chunked = AwsChunked(call.chunk_signatures) if _is_chunked(call.headers) else None
        writing: asyncio.Future[None] | None = None
        try:
            while not body.is_complete:
                data = await body.batch()
                pieces = [data] if chunked is None else chunked.feed(data)
                if writing is not None:
                    await writing
                writing = asyncio.ensure_future(self._in_thread(_write, sink, pieces))
        finally:
            if writing is not None:
                await writing
        if chunked is not None:
            chunked.finish()
            for name, value in chunked.trailers.items():
                if name.removeprefix(HEADER) in LENGTHS and name.startswith(HEADER):
                    sink.expected.add(name.removeprefix(HEADER), value)
        length = call.headers.get("x-amz-decoded-content-length") if chunked is not None else None
        if length is not None and length != str(sink.incoming.size):
            raise incomplete_body()
        await self._in_thread(sink.incoming.digests.verify, sink.expected)

    async def _document(self, call: S3Call, body: Body) -> bytes:
        document = await body.document(DOCUMENT_BYTES)
        if not document:
            return document
        if _is_chunked(call.headers):
            chunked = AwsChunked(call.chunk_signatures)
            document = b"".join(chunked.feed(document))
            chunked.finish()
        # Those of CompleteMultipartUpload are of the object, not of the document.
        about = {
            name: value for name, value in call.headers.items() if "uploadId" not in call.query or HEADER not in name
        }
        digests = Digests(algorithms(about))
        digests.update(document)
        digests.verify(expectations(about))
        return document

    async def _send(self, request: AwsRequest, answer: S3Answer, send: Send, more: Headers) -> None:
        is_head = request.method == "HEAD"
        headers = id_headers(request) + more
        headers += [
            (name.encode("latin-1", "replace"), value.encode("latin-1", "replace")) for name, value in answer.headers
        ]
        if answer.file is None and not (is_head and not answer.body):
            await send_answer(send, answer.status, headers, answer.body, is_head=is_head)
            return
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        if answer.file is not None and not is_head:
            await self._send_file(answer, send)
        else:
            await send({"type": "http.response.body"})

    async def _send_file(self, answer: S3Answer, send: Send) -> None:
        """Send one block while the next one is read."""
        assert answer.file is not None
        descriptor, position, end = answer.file.fileno(), answer.start, answer.start + answer.count
        reading = None
        try:
            while position < end:
                if reading is None:
                    reading = self._read(descriptor, position, end)
                block = await reading
                reading = None
                if not block:  # a user has truncated the file: the incomplete response ends the connection
                    return
                position += len(block)
                if position < end:
                    reading = self._read(descriptor, position, end)
                await send({"type": "http.response.body", "body": block, "more_body": True})
            await send({"type": "http.response.body"})
        finally:
            if reading is not None:  # meanwhile the file must not be closed, or its descriptor reused
                await asyncio.wait([reading])

    def _read(self, descriptor: int, position: int, end: int) -> asyncio.Future[bytes]:
        count = min(SENT_AT_ONCE, end - position)
        return asyncio.get_running_loop().run_in_executor(self._threads, os.pread, descriptor, count, position)

    async def _in_thread(self, function: Callable[..., T], *arguments: Any) -> T:
        """Run blocking code in a thread. An error of the file system is raised as one of S3."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)
        except OSError as error:
            raise s3_error(error) from error


def _write(sink: UploadSink, pieces: list[bytes]) -> None:
    for piece in pieces:
        sink.incoming.write(piece)


def _is_chunked(headers: dict[str, str]) -> bool:
    return headers.get("x-amz-content-sha256", "").startswith("STREAMING-") or "aws-chunked" in headers.get(
        "content-encoding", ""
    )
