"""What faults have changed of what surrounds all instances: how much memory there is, how fast S3 is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass
class Surroundings:
    """Shared by all instances, which look at it when it matters. As it is made, nothing is changed."""

    memory_fractions: Mapping[str, float] = field(default_factory=dict)  # by endpoint; the empty name is all others
    download_seconds: float = 0.0  # that each download takes longer
    download_bytes_per_second: float = 0.0  # of an archive; 0 = as fast as it comes

    def memory_fraction(self, endpoint_name: str) -> float:
        """How much of an instance's memory there is, from 0 to 1."""
        fractions = self.memory_fractions
        return fractions.get(endpoint_name, fractions.get("", 1.0)) if fractions else 1.0

    def extra_download_seconds(self, archive_bytes: int) -> float:
        """How much longer a download of so many bytes takes."""
        paced = archive_bytes / self.download_bytes_per_second if self.download_bytes_per_second else 0.0
        return self.download_seconds + paced
