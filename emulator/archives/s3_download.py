"""The bytes of one object of real S3, as they come: a broken connection is replaced by one that continues."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable
from typing import Any

from emulator.archives.model_data_url import S3Url

ATTEMPTS = 5  # for a connection that broke before it delivered data


class Download(io.RawIOBase):
    """A download of one object, always of the same version of it."""

    def __init__(
        self,
        get: Callable[..., dict[str, Any]],
        failure: Callable[[Exception], Exception],
        url: S3Url,
        closed: threading.Event,
    ) -> None:
        """``get`` is boto3's GetObject with conditions for this object; ``failure`` makes the exception to raise of
        one of boto3's. The download ends when ``closed`` is set."""
        super().__init__()
        self._request, self._failure, self._url, self._broken_off = get, failure, url, closed
        self._position = 0
        self._body: Any = None
        self.entity_tag = ""
        self.size_bytes = 0
        self.waited_seconds = 0.0  # for bytes, after ``begin``

    def begin(self) -> dict[str, Any]:
        """Request the object, before anything is read. Returns what boto3 does."""
        answer = self._get()
        self.entity_tag, self.size_bytes = answer["ETag"], answer["ContentLength"]
        return answer

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        began = time.perf_counter()
        try:
            return self._readinto(buffer)
        finally:
            self.waited_seconds += time.perf_counter() - began

    def _readinto(self, buffer: Any) -> int:
        if self._position >= self.size_bytes:
            return 0
        for attempt in range(1, ATTEMPTS + 1):
            if self._broken_off.is_set():
                raise self._failure(EOFError(f"the download of {self._url} was broken off"))
            try:
                data = self._body.read(min(len(buffer), self.size_bytes - self._position))
                if data:
                    break
                raise EOFError(f"the connection ended after {self._position} of {self.size_bytes} bytes")
            except Exception as error:
                if attempt == ATTEMPTS:
                    raise self._failure(error)  # noqa: B904 - it has a cause of its own
                self._body.close()
                self._get(Range=f"bytes={self._position}-", IfMatch=self.entity_tag)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        if self._body is not None:
            self._body.close()
        super().close()

    def _get(self, **conditions: str) -> dict[str, Any]:
        try:
            answer = self._request(**conditions)
        except Exception as error:
            raise self._failure(error)  # noqa: B904 - it has a cause of its own
        self._body = answer["Body"]
        return answer
