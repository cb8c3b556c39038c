"""The output of one input object of a transform job: it is collected elsewhere, and an object once it is whole."""

from __future__ import annotations

from emulator.archives.model_data_url import S3Url
from emulator.jobs.record_splitting import RecordProblem
from emulator.jobs.role_access import RoleAccess
from emulator.storage.errors import StorageError
from emulator.storage.incoming_file import IncomingFile
from emulator.storage.object_records import ObjectAttributes
from emulator.storage.object_store import ObjectStore


class TransformOutput:
    """All methods block."""

    def __init__(self, store: ObjectStore, access: RoleAccess, below: S3Url, path: str, input_key: str) -> None:
        """``path`` is that of the output below the job's S3OutputPath."""
        self.input_key = input_key
        self.problem: RecordProblem | None = None  # why there is no output
        self.pending = 0  # mini-batches that are not answered yet
        self.all_sent = False
        self.is_closed = False
        self._store, self._access = store, access
        self._bucket = below.bucket
        self._key = f"{below.key}{'' if below.is_folder else '/'}{path}"
        self._incoming: IncomingFile | None = None

    def append(self, data: bytes) -> None:
        """Add what follows. Raises OSError."""
        if self._incoming is None:
            self._incoming = self._store.incoming()
        self._incoming.write(data)

    def store(self) -> None:
        """Make it an object. Raises RecordProblem when its key cannot be one, JobFailed, and OSError."""
        self.append(b"")
        assert self._incoming is not None
        attributes = ObjectAttributes(self._incoming.digests.md5.hex())
        try:
            self._access.check_write(self._bucket, self._key)
            self._store.commit(self._bucket, self._key, self._incoming, attributes)
        except StorageError as error:
            why = getattr(error, "why", "") or type(error).__name__
            raise RecordProblem(f"ClientError: s3://{self._bucket}/{self._key} cannot be stored: {why}") from None
        finally:
            self.discard()

    def discard(self) -> None:
        """Delete it, unless it has been stored."""
        self.is_closed = True
        if self._incoming is not None:
            self._incoming.discard()
