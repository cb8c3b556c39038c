"""Data capture: which invocations of an endpoint are recorded in S3, and what of them."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class DataCapture:
    """A DataCaptureConfig that is enabled, checked."""

    bucket: str
    prefix: str  # of the keys; without a slash at its end, and empty at the top of the bucket
    sampling_percentage: int  # 0 to 100
    input: bool = True
    output: bool = True
    # Content types in lower case, without parameters. The data of all others is recorded in base64.
    csv_content_types: frozenset[str] = field(default_factory=frozenset)
    json_content_types: frozenset[str] = field(default_factory=frozenset)
