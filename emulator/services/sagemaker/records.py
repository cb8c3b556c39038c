"""The records of models, endpoint configurations and endpoints, and the JSON documents that they are stored as."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from emulator.services.sagemaker.local_settings import LocalInstances, LocalModel

Kind = Literal["model", "endpoint-config", "endpoint", "training-job", "transform-job"]  # as in ARNs
Document = dict[str, Any]  # of JSON's types


def now() -> float:
    """Seconds since 1970, to the millisecond: SDKs round to that when they use a time as a filter."""
    return time.time_ns() // 10**6 / 1000


@dataclass(eq=False)
class Record:
    """What all kinds of record have in common."""

    kind: ClassVar[Kind]

    name: str
    arguments: Document  # of the request that created it
    created: float = field(default_factory=now)  # seconds since 1970
    modified: float = 0.0
    tags: dict[str, str] = field(default_factory=dict)
    stored: bool = field(default=True, kw_only=True)  # False: created at the start, or being deleted

    def __post_init__(self) -> None:
        self.modified = self.modified or self.created

    def details(self) -> Document:
        """The fields of this kind alone, as JSON."""
        return {}

    @classmethod
    def fields(cls, details: Document) -> dict[str, Any]:
        """The constructor's arguments for the fields of this kind: the reverse of ``details``."""
        return {}


@dataclass(eq=False)
class ModelRecord(Record):
    kind = "model"

    directory: str = ""  # to which paths in Image are relative
    from_start: bool = False  # created at the emulator's start, not through the API
    local: LocalModel = field(default_factory=LocalModel, kw_only=True)  # not stored

    def details(self) -> Document:
        return {"directory": self.directory, **({"given": True} if self.from_start else {})}

    @classmethod
    def fields(cls, details: Document) -> dict[str, Any]:
        return {
            "directory": _of_type(str, details.get("directory", "")),
            "from_start": _of_type(bool, details.get("given", False)),
        }


@dataclass(eq=False)
class EndpointConfigRecord(Record):
    kind = "endpoint-config"

    instances: LocalInstances = field(default_factory=LocalInstances, kw_only=True)  # not stored


@dataclass(frozen=True)
class DesiredVariant:
    """What UpdateEndpointWeightsAndCapacities has set for a variant; None = as in the configuration."""

    weight: float | None = None
    instance_count: int | None = None

    def document(self) -> Document:
        members = {"DesiredWeight": self.weight, "DesiredInstanceCount": self.instance_count}
        return {name: value for name, value in members.items() if value is not None}


@dataclass(frozen=True)
class Deployment:
    """Copies of an endpoint's configuration and models, which may be deleted while it runs. [dg]"""

    config_name: str
    config: Document  # the arguments of its CreateEndpointConfig
    models: Mapping[str, ModelRecord]
    desired: Mapping[str, DesiredVariant] = field(default_factory=dict)  # by variant name
    deployment_config: Document | None = None  # DeploymentConfig of the UpdateEndpoint request
    instances: LocalInstances = field(default_factory=LocalInstances)  # not stored

    def document(self) -> Document:
        models = {name: {"asked": model.arguments, "more": model.details()} for name, model in self.models.items()}
        document: Document = {
            "source": {"name": self.config_name, "config": self.config, "models": models},
            "desired": {name: desired.document() for name, desired in self.desired.items()},
        }
        if self.deployment_config is not None:
            document["deployment"] = self.deployment_config
        return document

    @staticmethod
    def read(document: Document) -> Deployment:
        source = document["source"]
        return Deployment(
            _of_type(str, source["name"]),
            _of_type(dict, source["config"]),
            {
                name: ModelRecord(name, _of_type(dict, model["asked"]), **ModelRecord.fields(model["more"]))
                for name, model in source["models"].items()
            },
            {
                name: DesiredVariant(each.get("DesiredWeight"), each.get("DesiredInstanceCount"))
                for name, each in document["desired"].items()
            },
            document.get("deployment"),
        )


@dataclass(frozen=True)
class Deployments:
    """What an endpoint serves now, what an update under way will make it serve, or why its creation failed."""

    current: Deployment
    pending: Deployment | None = None
    failure: str = ""  # reason why its creation failed; empty = it did not fail

    def document(self) -> Document:
        document = self.current.document()
        if self.pending is not None:
            document["pending"] = self.pending.document()
        if self.failure:
            document["failure"] = self.failure
        return document

    @staticmethod
    def read(document: Document) -> Deployments:
        pending = document.get("pending")
        return Deployments(
            Deployment.read(document),
            Deployment.read(pending) if pending is not None else None,
            _of_type(str, document.get("failure", "")),
        )


@dataclass(eq=False)
class EndpointRecord(Record):
    kind = "endpoint"

    deployments: Deployments = field(kw_only=True)

    def details(self) -> Document:
        return self.deployments.document()

    @classmethod
    def fields(cls, details: Document) -> dict[str, Any]:
        return {"deployments": Deployments.read(details)}


@dataclass(eq=False)
class JobRecord(Record):
    """A job, with the members of its description that change while it runs."""

    stem: ClassVar[str]  # of the names in its operations: TrainingJob

    state: Document = field(default_factory=dict)

    @property
    def status(self) -> str:
        return str(self.state[f"{self.stem}Status"])

    @property
    def runs(self) -> bool:
        """Whether it has not ended."""
        return self.status in ("InProgress", "Stopping")

    def details(self) -> Document:
        return {"state": self.state}

    @classmethod
    def fields(cls, details: Document) -> dict[str, Any]:
        state = _of_type(dict, details["state"])
        _of_type(str, state[f"{cls.stem}Status"])
        return {"state": state}


@dataclass(eq=False)
class TrainingJobRecord(JobRecord):
    kind = "training-job"
    stem = "TrainingJob"


@dataclass(eq=False)
class TransformJobRecord(JobRecord):
    kind = "transform-job"
    stem = "TransformJob"


KINDS: Mapping[str, type[Record]] = {
    cls.kind: cls for cls in (ModelRecord, EndpointConfigRecord, EndpointRecord, TrainingJobRecord, TransformJobRecord)
}


def document(record: Record) -> Document:
    """The JSON document of a record. Its keys are those of files that exist: they do not change."""
    return {
        "kind": record.kind,
        "name": record.name,
        "asked": record.arguments,
        "created": record.created,
        "modified": record.modified,
        "tags": record.tags,
        "more": record.details(),
    }


def read(document: Document) -> Record:
    """The record of a JSON document. Raises LookupError, TypeError or AttributeError when the document is invalid."""
    cls = KINDS[document["kind"]]
    return cls(
        _of_type(str, document["name"]),
        _of_type(dict, document["asked"]),
        _of_type(float, document["created"]),
        _of_type(float, document["modified"]),
        _of_type(dict, document["tags"]),
        **cls.fields(document["more"]),
    )


def _of_type(kind: type[Any], value: Any) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"a {kind.__name__} was expected, not {value!r:.100}")
    return value
