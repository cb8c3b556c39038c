"""``localmme serve endpoint.yaml``: a file that describes what options cannot say, such as pipelines and variants.

It lists ``Models``, ``EndpointConfigs`` and ``Endpoints``. The items' keys are the arguments of boto3's
``create_model``, ``create_endpoint_config`` and ``create_endpoint``, and keep the same rules [api]; ``MINIMAL_FILE``
is an example.

Different from the API [ours]:

- ``Image`` is a Docker image under any name; or ``handler:FILE[:NAME]``, localmme's own server with that handler
  (``handler:`` alone: each archive carries its own); or ``command:WORDS``, a local process; or ``stub:FILE``, answers
  from a file, without model data. An image whose name really begins so is written with its registry before it.
- ``ModelDataUrl`` may be a path or a ``file:///`` URL as well: for Mode MultiModel of a directory of archives, else of
  one archive. A URL of S3 is read from real S3, with boto3's own settings.
- Paths are relative to the file, and commands run in its directory. ``~`` is the home directory.
- Without ``InstanceType`` an instance is as large as this machine; without ``InitialInstanceCount`` there is one.
- ``MapImages`` says what runs in place of images, by patterns of their names.
- An instance type's GPUs are not passed to its containers: few machines have those of the type, and a container
  that asks for more than there are does not start.
- Members that make no difference here are checked and left at that: roles, tags, keys, prices, and networks, as
  containers are in that of this machine, even with EnableNetworkIsolation. Members that would make the endpoint a
  different one are refused. ``emulator.services.sagemaker.supported_members`` lists both.

All problems are reported at once, each with its line.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.model import Shape

from emulator.archives.model_data_url import ModelData, parse_s3_url
from emulator.archives.unpacked_archive import is_unpacked_archive
from emulator.aws.service_models import Place, problems, shape, value_summary
from emulator.errors import SetupError
from emulator.services.sagemaker import data_capture
from emulator.services.sagemaker.definitions import (
    RequestReader,
    appended,
    expected_model_data,
    has_many_models,
    member,
    variant_problems,
    with_containers,
)
from emulator.services.sagemaker.mapped_images import NO_MAPPED_IMAGES, MappedImages
from emulator.services.sagemaker.model_data_location import path_of, url_of
from emulator.services.sagemaker.start_requests import StartRequests
from emulator.services.sagemaker.supported_members import places_with_own_rules, unsupported_members
from emulator.suggestions import did_you_mean
from emulator.yaml_source import YamlSource, as_error, read_source

REAL_S3 = ("s3://", "https://")  # what URLs of model data in S3 begin with
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
class Section:
    """One of the file's top-level lists."""

    key: str
    arguments: str  # the API's shape of its items
    name: str  # the member that names an item


MODELS = Section("Models", "CreateModelInput", "ModelName")
CONFIGS = Section("EndpointConfigs", "CreateEndpointConfigInput", "EndpointConfigName")
ENDPOINTS = Section("Endpoints", "CreateEndpointInput", "EndpointName")
SECTIONS = (MODELS, CONFIGS, ENDPOINTS)
MAPPED_IMAGES = "MapImages"  # from patterns to values of Image


def read(path: Path) -> StartRequests:
    """The requests that create the endpoints of a file. Raises SetupError: ``FILE:LINE: KEY: MESSAGE`` per problem."""
    if path.is_dir():
        raise SetupError(f"{path} is a directory. Use --models {path} for a directory of models.")
    return _File(path, read_source(path, "FILE describes endpoints, such as endpoint.yaml.")).requests()


class _File:
    """Reads one file: collects all problems, and raises them together at the end."""

    def __init__(self, path: Path, source: YamlSource) -> None:
        self._path = path
        self._directory = path.absolute().parent
        self._source = source
        self._reader = RequestReader(self._directory, self._locate)
        self._report = self._reader.report
        self._lines = {(place, message): line for line, place, message in source.problems}
        self._reader.problems += self._lines

    def requests(self) -> StartRequests:
        document = self._source.value
        if document is None:
            document = {}
        if not isinstance(document, dict):
            keys = ", ".join(section.key for section in SECTIONS)
            self._report((), f"must be a mapping with the keys {keys}, not {value_summary(document)}")
            document = {}
        else:
            self._check_sections(document)
        mapped_images = self._mapped_images(document.get(MAPPED_IMAGES, {}))
        self._reader.mapped_images = mapped_images
        models, configs, endpoints = {}, {}, []
        for name, place, request in self._items(document, MODELS):
            self._reader.model(place, request)
            models[name] = request
        for name, place, request in self._items(document, CONFIGS):
            self._check_variants((*place, "ProductionVariants"), request, models)
            self._reader.problems += data_capture.problems(place, request)
            configs[name] = request
        for _, place, request in self._items(document, ENDPOINTS):
            where = (*place, "EndpointConfigName")
            self._check_reference(where, member(request, "EndpointConfigName", str), configs, CONFIGS)
            endpoints.append(request)
        if found := self._reader.problems:
            lines = ((self._lines.get(problem) or self._source.line(problem[0]), *problem) for problem in found)
            raise as_error(self._path, lines)
        return StartRequests(
            [with_containers(model, self._with_url) for model in models.values()],
            [*configs.values()],
            endpoints,
            self._directory,
            mapped_images=mapped_images,
        )

    def _mapped_images(self, mappings: Any) -> MappedImages:
        found = NO_MAPPED_IMAGES
        if not isinstance(mappings, dict) or not all(isinstance(text, str) for text in mappings.values()):
            self._report((MAPPED_IMAGES,), f"must map patterns to images, not {value_summary(mappings)}")
            return found
        for pattern, text in mappings.items():
            try:
                found += MappedImages({str(pattern): text}, self._directory)
            except SetupError as error:
                self._report((MAPPED_IMAGES, pattern), str(error))
        return found

    # Sections

    def _check_sections(self, document: dict[str, Any]) -> None:
        known = [*(section.key for section in SECTIONS), MAPPED_IMAGES]
        for key in document:
            if key not in known:
                self._report(
                    (key,), f"is not a key of this file: {did_you_mean(key, known) or 'there are ' + ', '.join(known)}"
                )
        if document.get(ENDPOINTS.key) in (None, []):
            self._report((ENDPOINTS.key,), f"must have an endpoint. A file needs at least:\n\n{MINIMAL_FILE}\n")

    def _items(self, document: dict[str, Any], section: Section) -> Iterator[tuple[str, Place, dict[str, Any]]]:
        """Name, place and value of each checked item. The name is empty if it is missing."""
        items = document.get(section.key)
        if items is None:
            return
        if not isinstance(items, list):
            self._report((section.key,), f"must be a list, not {value_summary(items)}")
            return
        taken: dict[str, Place] = {}
        for position, request in enumerate(items):
            place: Place = (section.key, position)
            self._check(shape(section.arguments), request, place)
            if not isinstance(request, dict):
                continue
            name = member(request, section.name, str) or ""
            # Names that differ only in case are one name: in ARNs they are in lower case. [api]
            self._check_name((*place, section.name), name.lower(), taken)
            yield name, place, request

    def _check_name(self, place: Place, name: str, taken: dict[str, Place]) -> None:
        if name in taken:
            self._report(place, f"is already used, on line {self._source.line(taken[name])}")
        elif name:
            taken[name] = place

    def _check(self, expected: Shape, request: Any, place: Place) -> None:
        """Report what the API would refuse, and members that are not emulated."""
        refused = dict(unsupported_members(expected, request, place))
        for where, advice in refused.items():
            self._report(where, "is not emulated" + appended(advice))
        own = set(places_with_own_rules(expected, request, place))
        unreadable = {where for _, where, _ in self._source.problems}
        for problem in problems(expected, request, place):
            where, message = problem.place, problem.message
            if any(where[: len(other)] == other for other in refused):
                continue  # refused as a whole
            if where in own and problem.kind != "type":
                continue
            if where in unreadable and problem.kind == "type":
                continue  # already reported
            text = self._source.unquoted(where)
            if problem.kind == "type" and problem.bound == "string" and text:
                message += f': put it in quotes, "{text}"'
            self._report(where, message)

    # Endpoint configurations

    def _check_variants(self, place: Place, config: dict[str, Any], models: Mapping[str, Any]) -> None:
        taken: dict[str, Place] = {}
        for position, variant in enumerate(member(config, "ProductionVariants", list) or ()):
            if not isinstance(variant, dict):
                continue
            here: Place = (*place, position)
            model_name = member(variant, "ModelName", str)
            self._check_reference((*here, "ModelName"), model_name, models, MODELS)
            for problem in variant_problems(here, variant, has_many_models(models.get(model_name or "", {}))):
                self._report(*problem)
            self._check_name((*here, "VariantName"), member(variant, "VariantName", str) or "", taken)

    def _check_reference(self, place: Place, name: str | None, known: Collection[str], section: Section) -> None:
        """Report a name that this file does not define."""
        if name is not None and name not in known:
            self._report(place, f"{section.key} has no item named {name}" + appended(did_you_mean(name, known)))

    # Model data

    def _with_url(self, container: Mapping[str, Any]) -> Mapping[str, Any]:
        """A container whose ModelDataUrl is a URL, also if the file has a path."""
        path = self._path_of(container["ModelDataUrl"]) if "ModelDataUrl" in container else None
        if path is None:
            return container
        return {
            **container,
            "ModelDataUrl": url_of(path.resolve(), is_directory=container.get("Mode") == "MultiModel"),
        }

    def _locate(self, url: str, multi_model: bool) -> ModelData:
        """The model data that a ModelDataUrl of this file names. Raises SetupError."""
        expected = expected_model_data(multi_model)
        if url.startswith(REAL_S3):
            found = parse_s3_url(url)
            if not multi_model and found.is_folder:
                raise SetupError(f"{url} is not an object, and Mode SingleModel takes {expected}")
            return found
        path = self._path_of(url)
        if path is None:
            raise SetupError(f"must be a path on this machine or an s3:// URL, not {url}: give that of {expected}")
        if not os.path.exists(path):
            raise SetupError(f"there is no {path}: give {expected}")
        if multi_model and not path.is_dir():
            raise SetupError(f"{path} is not a directory, and Mode MultiModel takes {expected}")
        if not multi_model and not path.is_file() and not is_unpacked_archive(path):
            raise SetupError(f"{path} is not a file, and Mode SingleModel takes {expected}")
        return path.resolve()

    def _path_of(self, url: str) -> Path | None:
        """The path that a ModelDataUrl names; None for URLs other than ``file``."""
        return path_of(url) if "://" in url else self._directory / os.path.expanduser(url)
