"""Every limit that SageMaker documents, and those besides that a host needs.

One place, so that a user can see them, correct them and (for tests and prototypes) shorten them:
``localmme serve --limit invocation_seconds=2``. The source of each number stands beside it:
[dg] SageMaker developer guide, [api] API reference, [ours] not documented, our own choice.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

from emulator.errors import SetupError
from emulator.suggestions import similar_names

# [api] The longest body by the API's own model, as botocore ships it, and by older copies of the guide.
FORMER_BODY_BYTES = 6_291_456
UNHURRIED_SECONDS = 7 * 86400.0  # [ours] as good as no limit


@dataclass(frozen=True)
class Limits:
    """Seconds, bytes and counts that the emulated platform keeps to."""

    # Invocations
    invocation_seconds: float = 60.0  # [dg] InvokeEndpoint answers within 60 s
    stream_invocation_seconds: float = 480.0  # [api] a streamed invocation may last 8 minutes
    body_bytes: int = 26_214_400  # [dg] 25 MB, of a request and of an answer; that a MB has 2**20 bytes is [ours]
    invocations_per_second: float = math.inf  # [ours] what comes faster is throttled; AWS has quotas by account
    custom_attributes_characters: int = 1024  # [api]
    target_model_characters: int = 1024  # [api]

    # Models
    load_seconds: float = 360.0  # [dg] download and load go on this long after a caller gave up
    archive_files: int = 100_000  # [ours] members of one archive

    # Containers
    connect_seconds: float = 0.25  # [dg] a connection must be accepted within 250 ms
    ping_seconds: float = 2.0  # [dg] a ping must answer within 2 s
    poll_seconds: float = 5.0  # [public logs] /ping and /models are polled about every 5 s
    s3_watch_seconds: float = 60.0  # [ours] between two looks at whether archives in real S3 have changed
    startup_seconds: float = 240.0  # [dg] a container must pass pings within 4 minutes
    stop_seconds: float = 30.0  # [dg] SIGKILL follows SIGTERM after 30 s
    unhealthy_pings: int = 6  # [ours] failed polls in a row after which a container is replaced
    unload_seconds: float = 60.0  # [ours] how long an unload may take before it counts as failed
    restart_seconds: float = 30.0  # [ours] longest pause between restarts of a container that keeps dying

    # Instances
    observe_seconds: float = 10.0  # [ours] between two looks at what the containers of an instance use
    instances_of_a_type: int = 20  # [ours] in all endpoints together; AWS's quotas differ by account and type
    busy_invocations: int = 8  # [ours] under way on an instance, at which its models spread to another

    # Jobs
    job_stop_seconds: float = 120.0  # [dg] SIGKILL follows SIGTERM after 120 s, when a training job is stopped
    checkpoint_seconds: float = 10.0  # [ours] between two looks at whether a training job has written checkpoints

    # The emulator
    capture_seconds: float = 5.0  # [ours] between two writes of captured invocations to S3
    drain_seconds: float = 5.0  # [ours] how long invocations under way may go on after Ctrl-C

    # Memory
    memory_watermark: float = 0.9  # [ours] share of the memory budget that loading may fill
    memory_guess: float = 1 / 16  # [ours] share that a model is expected to take while nothing is loaded to tell by

    def without_those_of_handlers(self) -> Limits:
        """A copy that lets a handler take as long as somebody looks at it in a debugger."""
        return replace(
            self,
            invocation_seconds=UNHURRIED_SECONDS,
            stream_invocation_seconds=UNHURRIED_SECONDS,
            load_seconds=UNHURRIED_SECONDS,
        )

    @classmethod
    def field_names(cls) -> list[str]:
        """The limits' names, as ``--limit`` takes them."""
        return [field.name for field in fields(cls)]

    def override(self, settings: list[str]) -> Limits:
        """A copy with ``NAME=VALUE`` settings applied.

        Raises SetupError when a name is unknown or a value is not a positive number.
        """
        known = self.field_names()
        changes: dict[str, float | int] = {}
        for setting in settings:
            name, _, text = setting.partition("=")
            if name not in known:
                similar = similar_names(name, known, similarity=0.3)
                others = f"Similar: {', '.join(similar)}." if similar else f"The limits are {', '.join(known)}."
                raise SetupError(f"There is no limit {name!r}. {others}")
            kind = type(getattr(self, name))
            try:
                value = kind(text)
            except ValueError:
                raise SetupError(
                    f"Limit {name} takes a {'whole number' if kind is int else 'number'}, not {text!r}."
                ) from None
            if not value > 0:
                raise SetupError(f"Limit {name} must be greater than 0, not {text}.")
            changes[name] = value
        return replace(self, **changes)  # type: ignore[arg-type]
