"""``localmme serve endpoint.yaml``: a file that describes what options cannot say, such as pipelines and variants.

It lists ``Models``, ``EndpointConfigs`` and ``Endpoints``. The items' keys are the arguments of boto3's
``create_model``, ``create_endpoint_config`` and ``create_endpoint``, and keep the same rules [api]; ``MINIMAL_FILE``
is an example.

Different from the API [ours]:

- ``Image`` is a Docker image under any name; or ``handler:FILE[:NAME]``, localmme's own server with that handler
  (``handler:`` alone: each archive carries its own); or ``command:WORDS``, a local process. An image whose name is
  really ``handler:...`` or ``command:...`` is written with its registry before it.
- ``ModelDataUrl`` is a path or a ``file:///`` URL: for Mode MultiModel a directory of archives, else one archive.
- Paths are relative to the file, and commands run in its directory. ``~`` is the home directory.
- Without ``InstanceType`` an instance is as large as this machine; without ``InitialInstanceCount`` there is one.
- An instance type's GPUs are not passed to its containers: few machines have those of the type, and a container
  that asks for more than there are does not start.
- Members that make no difference here are checked and left at that: roles, tags, keys, prices, and networks, as
  containers are in that of this machine, even with EnableNetworkIsolation. Members that would make the endpoint a
  different one are refused. ``MEMBERS`` lists both.

Every problem is told with its line, all of the file's at once.
"""

from __future__ import annotations

import os
import re
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from botocore.model import Shape

from emulator.errors import SetupError
from emulator.hosting.definition import (
    Caching,
    Command,
    ContainerDefinition,
    EndpointDefinition,
    Image,
    ModelDefinition,
    VariantDefinition,
)
from emulator.hosting.instance_types import instance_types
from emulator.service_model import Place, described, near, not_among, problems, shape
from localmme import options
from localmme.yaml_source import NotYaml, YamlSource

DEFAULT_VOLUME_GIB = 30  # [ours] as that of ``serve --storage``
ENVIRONMENT_BYTES = 32 * 1024  # [api] of all containers of a model together
MINIMAL_FILE = """\
Models:
  - ModelName: my-models
    PrimaryContainer: {Image: "handler:handler.py", Mode: MultiModel, ModelDataUrl: ./s3}
EndpointConfigs:
  - EndpointConfigName: my-config
    ProductionVariants: [{VariantName: AllTraffic, ModelName: my-models, InstanceType: ml.m5.large}]
Endpoints:
  - {EndpointName: local, EndpointConfigName: my-config}"""


@dataclass(frozen=True)
class Members:
    """What becomes of the members of one of the API's structures. One that is not listed is refused."""

    used: frozenset[str]
    ignored: frozenset[str] = frozenset()  # checked, but nothing here could tell whether they are there
    refused: Mapping[str, str] = field(default_factory=dict)  # with what to do instead, if there is something


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


MEMBERS = {
    "CreateModelInput": Members(
        used=_names("ModelName PrimaryContainer Containers InferenceExecutionConfig"),
        ignored=_names("ExecutionRoleArn Tags VpcConfig EnableNetworkIsolation"),
    ),
    "ContainerDefinition": Members(
        used=_names("ContainerHostname Image Mode ModelDataUrl Environment MultiModelConfig"),
        ignored=_names("ImageConfig ContainerMetricsConfig"),
        refused={
            "ModelDataSource": "give an archive, or for Mode MultiModel a directory of archives, as ModelDataUrl",
            "AdditionalModelDataSources": "put these files into the model's archive",
            "ModelPackageName": "there are no model packages here; give Image and ModelDataUrl",
            "InferenceSpecificationName": "there are no model packages here; give Image and ModelDataUrl",
        },
    ),
    "MultiModelConfig": Members(used=_names("ModelCacheSetting")),
    "InferenceExecutionConfig": Members(used=_names("Mode")),
    "CreateEndpointConfigInput": Members(
        used=_names("EndpointConfigName ProductionVariants"),
        ignored=_names(
            "Tags KmsKeyId ExecutionRoleArn VpcConfig EnableNetworkIsolation MetricsConfig CrossRegionTrafficConfig"
        ),
        refused={
            "AsyncInferenceConfig": "endpoints here are real-time endpoints",
            "DataCaptureConfig": "nothing is captured here; leave it out, or set EnableCapture to false",
            "ExplainerConfig": "",
            "ShadowProductionVariants": "",
        },
    ),
    "ProductionVariant": Members(
        used=_names(
            "VariantName ModelName InitialInstanceCount InstanceType InitialVariantWeight VolumeSizeInGB "
            "ContainerStartupHealthCheckTimeoutInSeconds RoutingConfig"
        ),
        ignored=_names(
            "VariantInstanceProvisionTimeoutInSeconds ModelDataDownloadTimeoutInSeconds EnableSSMAccess "
            "CapacityReservationConfig"
        ),
        refused={
            "InstancePools": "give one InstanceType",
            "AcceleratorType": "",
            "CoreDumpConfig": "no core is dumped to S3 here; leave it out",
            "ServerlessConfig": "give InstanceType and InitialInstanceCount",
            "ManagedInstanceScaling": "InitialInstanceCount instances run all the time; leave it out, "
            "or set its Status to DISABLED",
            "InferenceAmiVersion": "containers meet the drivers of this machine; leave it out",
            "AcceleratorPartitionLayouts": "",
        },
    ),
    "ProductionVariantRoutingConfig": Members(
        used=_names("RoutingStrategy"), refused={"PrefixAwareRoutingConfig": "set RoutingStrategy to RANDOM"}
    ),
    "CreateEndpointInput": Members(
        used=_names("EndpointName EndpointConfigName"), ignored=_names("Tags DeploymentConfig")
    ),
}
# Refused members that are accepted where they say that they are off.
SWITCHED_OFF: Mapping[str, tuple[str, Any]] = {
    "DataCaptureConfig": ("EnableCapture", False),
    "ManagedInstanceScaling": ("Status", "DISABLED"),
}
# Strings that this module checks, not by the API's rules: other things are allowed, more or fewer of them.
OF_OUR_OWN = {
    ("ContainerDefinition", "Image"),
    ("ContainerDefinition", "ModelDataUrl"),
    ("ProductionVariant", "InstanceType"),
    ("ProductionVariantRoutingConfig", "RoutingStrategy"),
}
ROUTING_STRATEGIES = ("RANDOM", "LEAST_OUTSTANDING_REQUESTS")  # those emulated


@dataclass(frozen=True)
class Section:
    """One of the file's lists."""

    key: str
    arguments: str  # the API's shape that each item has
    name: str  # the member that tells one item from another


MODELS = Section("Models", "CreateModelInput", "ModelName")
CONFIGS = Section("EndpointConfigs", "CreateEndpointConfigInput", "EndpointConfigName")
ENDPOINTS = Section("Endpoints", "CreateEndpointInput", "EndpointName")
SECTIONS = (MODELS, CONFIGS, ENDPOINTS)


def read(path: Path) -> list[EndpointDefinition]:
    """The endpoints that a file describes. Raises SetupError: one line ``FILE:LINE: KEY: MESSAGE`` per problem."""
    try:
        source = YamlSource(_text(path))
    except NotYaml as error:
        raise SetupError(f"{path}:{error.line}: {error}") from None
    return _File(path, source).endpoints()


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise SetupError(f"There is no file {path}. It would describe the endpoints to serve.") from None
    except IsADirectoryError:
        raise SetupError(f"{path} is a directory: a directory of models is given as --models {path}.") from None
    except OSError as error:
        raise SetupError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise SetupError(f"{path}:{line}: the file is not UTF-8 text") from None


class _File:
    """One file while it is read: problems are gathered on the way and raised together at the end."""

    def __init__(self, path: Path, source: YamlSource) -> None:
        self._path = path
        self._directory = path.absolute().parent
        self._source = source
        self._problems = list(source.problems)

    def endpoints(self) -> list[EndpointDefinition]:
        document = self._source.value
        if document is None:
            document = {}
        if not isinstance(document, dict):
            keys = ", ".join(section.key for section in SECTIONS)
            self._report((), f"must be a mapping with the keys {keys}, not {described(document)}")
            document = {}
        else:
            self._check_sections(document)
        models = {name: self._model(place, asked) for name, place, asked in self._items(document, MODELS)}
        configs = {name: self._variants(place, asked, models) for name, place, asked in self._items(document, CONFIGS)}
        endpoints = [self._endpoint(place, asked, configs) for _, place, asked in self._items(document, ENDPOINTS)]
        if self._problems:
            in_order = sorted(self._problems, key=lambda problem: problem[0])
            raise SetupError("\n".join(dict.fromkeys(self._told(*problem) for problem in in_order)))
        return [endpoint for endpoint in endpoints if endpoint is not None]

    # Sections

    def _check_sections(self, document: dict[str, Any]) -> None:
        known = [section.key for section in SECTIONS]
        for key in document:
            if key not in known:
                self._report(
                    (key,), f"is not a key of this file: {near(key, known) or 'there are ' + ', '.join(known)}"
                )
        if document.get(ENDPOINTS.key) in (None, []):
            self._report((ENDPOINTS.key,), f"there is none. A file needs at least:\n\n{MINIMAL_FILE}\n")

    def _items(self, document: dict[str, Any], section: Section) -> Iterator[tuple[str, Place, dict[str, Any]]]:
        """Name, place and value of each item, once it has been checked. An item without a name has ``""``."""
        items = document.get(section.key)
        if items is None:
            return
        if not isinstance(items, list):
            self._report((section.key,), f"must be a list, not {described(items)}")
            return
        taken: dict[str, Place] = {}
        for position, asked in enumerate(items):
            place: Place = (section.key, position)
            self._check(shape(section.arguments), asked, place)
            if not isinstance(asked, dict):
                continue
            name = _member(asked, section.name, str) or ""
            # [api] CreateEndpoint is blind to the case of a name.
            self._check_name((*place, section.name), name.lower() if section is ENDPOINTS else name, taken)
            yield name, place, asked

    def _check_name(self, place: Place, name: str, taken: dict[str, Place]) -> None:
        if name in taken:
            self._report(place, f"is the name of another one, on line {self._source.line(taken[name])}")
        elif name:
            taken[name] = place

    def _check(self, of: Shape, asked: Any, place: Place) -> None:
        """Report what the API would refuse, and what is not emulated."""
        refused = dict(_not_emulated(of, asked, place))
        for where, advice in refused.items():
            self._report(where, "is not emulated" + _after(advice))
        own = set(_places_of_our_own(of, asked, place))
        unreadable = {where for _, where, _ in self._source.problems}
        for problem in problems(of, asked, place):
            where, message = problem.place, problem.message
            if any(where[: len(other)] == other for other in refused):
                continue  # what is refused as a whole
            if where in own and problem.kind != "type":
                continue
            if where in unreadable and problem.kind == "type":
                continue  # because nothing came of it
            text = self._source.unquoted(where)
            if problem.kind == "type" and problem.bound == "string" and text:
                message += f': put it in quotes, "{text}"'
            self._report(where, message)

    # Models

    def _model(self, place: Place, asked: dict[str, Any]) -> ModelDefinition | None:
        """None if there is something wrong with it, here and below: it has been reported then."""
        if ("PrimaryContainer" in asked) == ("Containers" in asked):
            there = "not both" if "Containers" in asked else "and has none"
            self._report(place, f"takes PrimaryContainer or Containers, {there}")
        primary, several = _member(asked, "PrimaryContainer", dict), _member(asked, "Containers", list)
        containers = [self._container((*place, "PrimaryContainer"), primary)] if primary is not None else []
        for position, container in enumerate(several or ()):
            if isinstance(container, dict):
                containers.append(self._container((*place, "Containers", position), container))
        environments = [container.environment for container in containers if container is not None]
        if sum(len((name + value).encode()) for one in environments for name, value in one.items()) > ENVIRONMENT_BYTES:
            self._report(place, f"has more than {ENVIRONMENT_BYTES} bytes of Environment, all containers together")
        if self._faulty(place):
            return None
        try:
            return ModelDefinition(
                [container for container in containers if container is not None],
                direct=asked.get("InferenceExecutionConfig", {}).get("Mode") == "Direct",
            )
        except SetupError as error:
            self._report(place, str(error))
            return None

    def _container(self, place: Place, asked: dict[str, Any]) -> ContainerDefinition | None:
        multi_model = asked.get("Mode") == "MultiModel"
        runs = self._runs((*place, "Image"), asked)
        model_data = self._model_data((*place, "ModelDataUrl"), asked, multi_model)
        if asked.get("Image") == "handler:" and not multi_model and "ModelDataUrl" not in asked:
            self._report((*place, "Image"), "needs an archive that carries the handler: give ModelDataUrl")
        if "MultiModelConfig" in asked and not multi_model:
            self._report((*place, "MultiModelConfig"), "goes with Mode: MultiModel")
        if self._faulty(place) or runs is None:
            return None
        environment = dict(asked.get("Environment", {}))
        if asked["Image"].startswith("handler:"):
            # The default of ``serve --workers-per-model``.
            environment.setdefault("SAGEMAKER_MODEL_SERVER_WORKERS", "1")
        return ContainerDefinition(
            runs,
            model_data,
            multi_model,
            asked.get("ContainerHostname", ""),
            environment,
            Caching(enabled=asked.get("MultiModelConfig", {}).get("ModelCacheSetting") != "Disabled"),
        )

    def _runs(self, place: Place, asked: dict[str, Any]) -> Image | Command | None:
        if "Image" not in asked and "ModelPackageName" not in asked:
            self._report(place, "is missing: give a Docker image, handler:FILE or command:WORDS")
        image = _member(asked, "Image", str)
        if image is None:
            return None
        kind, colon, rest = image.partition(":")
        try:
            if kind + colon == "handler:":
                return options.embedded_server(str(self._absolute(rest)) if rest else None)
            if kind + colon == "command:" and rest.strip():
                return options.command_of(rest, self._directory)
        except SetupError as error:
            self._report(place, str(error))
            return None
        except OSError as error:  # such as a name that is too long for a file
            self._report(place, f"cannot be looked for: {error.strerror}")
            return None
        if not image or image != "".join(image.split()) or kind + colon == "command:":
            self._report(place, f"takes a Docker image, handler:FILE or command:WORDS, not {described(image)}")
            return None
        return Image(image)

    def _model_data(self, place: Place, asked: dict[str, Any], multi_model: bool) -> Path | None:
        wanted = "a directory of model archives (.tar.gz)" if multi_model else "one model archive (.tar.gz)"
        if "ModelDataUrl" not in asked and multi_model:
            self._report(place, f"is missing: Mode MultiModel needs {wanted}")
        url = _member(asked, "ModelDataUrl", str)
        if url is None:
            return None
        named = _path_of(url) if "://" in url else url
        if named is None:
            self._report(
                place, f"must be a path on this machine, not {url}: copy it here, and give the path of {wanted}"
            )
            return None
        path = self._absolute(named)
        if not os.path.exists(path):
            self._report(place, f"there is no {path}: give {wanted}")
        elif multi_model and not path.is_dir():
            self._report(place, f"{path} is not a directory, and Mode MultiModel takes {wanted}")
        elif not multi_model and not path.is_file():
            self._report(place, f"{path} is not a file, and Mode SingleModel takes {wanted}")
        else:
            return path.resolve()
        return None

    def _absolute(self, path: str) -> Path:
        return self._directory / os.path.expanduser(path)

    # Endpoint configurations and endpoints

    def _variants(
        self, place: Place, asked: dict[str, Any], models: Mapping[str, ModelDefinition | None]
    ) -> list[VariantDefinition] | None:
        place = (*place, "ProductionVariants")
        variants: list[VariantDefinition | None] = []
        taken: dict[str, Place] = {}
        for position, variant in enumerate(_member(asked, "ProductionVariants", list) or ()):
            if not isinstance(variant, dict):
                continue
            here: Place = (*place, position)
            variants.append(self._variant(here, variant, models))
            self._check_name((*here, "VariantName"), _member(variant, "VariantName", str) or "", taken)
        complete = [variant for variant in variants if variant is not None]
        return None if self._faulty(place[:2]) or len(complete) < len(variants) else complete

    def _variant(
        self, place: Place, asked: dict[str, Any], models: Mapping[str, ModelDefinition | None]
    ) -> VariantDefinition | None:
        if "ModelName" not in asked:
            self._report((*place, "ModelName"), "is missing: variants for inference components are not emulated")
        model = self._referred((*place, "ModelName"), _member(asked, "ModelName", str), models, MODELS)
        instance_type = _member(asked, "InstanceType", str)
        if instance_type is not None and instance_type not in instance_types():
            advice = near("ml." + instance_type.removeprefix("ml."), instance_types())
            self._report((*place, "InstanceType"), f"there is no {described(instance_type)}" + _after(advice))
        routing = _member(_member(asked, "RoutingConfig", dict), "RoutingStrategy", str)
        if routing is not None and routing not in ROUTING_STRATEGIES:
            message = f"{not_among(routing, ROUTING_STRATEGIES)}: others are not emulated"
            self._report((*place, "RoutingConfig", "RoutingStrategy"), message)
        if self._faulty(place) or model is None:
            return None
        startup_seconds = asked.get("ContainerStartupHealthCheckTimeoutInSeconds")
        return VariantDefinition(
            model,
            options.resources(instance_type, None, f"{asked.get('VolumeSizeInGB', DEFAULT_VOLUME_GIB)}GiB"),
            asked["VariantName"],
            asked.get("InitialInstanceCount", 1),
            float(asked.get("InitialVariantWeight", 1.0)),
            routing == "LEAST_OUTSTANDING_REQUESTS",
            None if startup_seconds is None else float(startup_seconds),
        )

    def _endpoint(
        self, place: Place, asked: dict[str, Any], configs: Mapping[str, list[VariantDefinition] | None]
    ) -> EndpointDefinition | None:
        name = _member(asked, "EndpointConfigName", str)
        variants = self._referred((*place, "EndpointConfigName"), name, configs, CONFIGS)
        if self._faulty(place) or variants is None:
            return None
        return EndpointDefinition(asked["EndpointName"], variants, options.region())

    def _referred(self, place: Place, name: str | None, known: Mapping[str, Any], section: Section) -> Any:
        """What goes by that name in this file; None, and a problem, if there is nothing."""
        if name is not None and name not in known:
            self._report(place, f"there is no {name} in {section.key}" + _after(near(name, known)))
        return known.get(name or "")

    # Problems

    def _report(self, place: Place, message: str) -> None:
        self._problems.append((self._source.line(place), place, message))

    def _faulty(self, place: Place) -> bool:
        return any(where[: len(place)] == place for _, where, _ in self._problems)

    def _told(self, line: int, place: Place, message: str) -> str:
        # Whose member it is, the line says.
        key = _written(place[2:]) or _written(place)
        return f"{self._path}:{line}: {key}: {message}" if key else f"{self._path}:{line}: {message}"


def _not_emulated(of: Shape, asked: Any, place: Place) -> Iterator[tuple[Place, str]]:
    """Where there is something that is not emulated, and what to do instead."""
    if isinstance(asked, list) and of.type_name == "list":
        for position, item in enumerate(asked):
            yield from _not_emulated(of.member, item, (*place, position))
    members = MEMBERS.get(of.name)
    if members is None or not isinstance(asked, dict):
        return
    for name in asked:
        if name in members.used and name in of.members:
            yield from _not_emulated(of.members[name], asked[name], (*place, name))
        elif name in of.members and name not in members.ignored and not _switched_off(name, asked[name]):
            yield (*place, name), members.refused.get(name, "")


def _switched_off(name: str, asked: Any) -> bool:
    switch, off = SWITCHED_OFF.get(name, ("", None))
    return bool(switch) and isinstance(asked, dict) and asked.get(switch) is not None and asked[switch] == off


def _places_of_our_own(of: Shape, asked: Any, place: Place) -> Iterator[Place]:
    """Where the API's rules for a string do not hold."""
    if isinstance(asked, list) and of.type_name == "list":
        for position, item in enumerate(asked):
            yield from _places_of_our_own(of.member, item, (*place, position))
    elif isinstance(asked, dict) and of.type_name == "structure":
        for name in asked:
            if (of.name, name) in OF_OUR_OWN:
                yield (*place, name)
            elif name in of.members:
                yield from _places_of_our_own(of.members[name], asked[name], (*place, name))


def _path_of(url: str) -> str | None:
    """The path of a file URL of this machine; None for other URLs."""
    match = re.fullmatch(r"file://(localhost)?(/.*)", url, re.DOTALL)
    return urllib.parse.unquote(match.group(2)) if match else None


def _member(asked: Any, name: str, kind: type) -> Any:
    """A member of a structure, if it is there and of that type; otherwise that has been reported."""
    value = asked.get(name) if isinstance(asked, dict) else None
    return value if isinstance(value, kind) else None


def _written(place: Place) -> str:
    """A place as people write it: ``ProductionVariants[0].ModelName``."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place).lstrip(".")


def _after(advice: str) -> str:
    return advice and f": {advice}"
