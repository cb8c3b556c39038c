"""Explains why moto failed at a call: moto checks few parameters before it uses them."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any

from botocore.model import ServiceModel, StructureShape
from botocore.utils import parse_timestamp

from emulator.aws.decimals import decimal
from emulator.aws.service_models import problems
from emulator.aws.services import MOTO_SERVICES, api_model

NUMBERS = {"integer", "long"}


def misfit(service: str, operation: str, document: Any, parameters: Mapping[str, str]) -> str:
    """What of a call its API would not take, one of it; empty if it would take all. [api]

    ``document`` is JSON, or None in the query protocol, where ``parameters`` count.
    """
    shape = _model(service).operation_model(operation).input_shape
    if shape is None:
        return ""
    return next(_of_document(shape, document) if document is not None else _of_query(shape, parameters), "")


def omitted(service: str, operation: str, document: Any, parameters: Mapping[str, str]) -> list[str]:
    """The parameters that a call leaves out, as it may. Its arguments are those of ``misfit``."""
    shape = _model(service).operation_model(operation).input_shape
    given = {name.partition(".")[0] for name in (parameters if document is None else document)}
    return [] if shape is None else [name for name in shape.members if name not in given]


def _of_document(shape: StructureShape, document: Any) -> Iterator[str]:
    for problem in problems(shape, document):
        yield f"{'.'.join(map(str, problem.place)) or 'The request'} {problem.message}"
    for name, member in shape.members.items():
        if isinstance(document, dict) and name in document and member.type_name == "timestamp":
            yield from _of_time(name, document[name])


def _of_query(shape: StructureShape, parameters: Mapping[str, str]) -> Iterator[str]:
    for name, member in shape.members.items():
        value = parameters.get(name)
        if value is None:
            if name in shape.required_members and not any(given.startswith(f"{name}.") for given in parameters):
                yield f"{name} is missing"
        elif member.type_name in NUMBERS and decimal(value.removeprefix("-")) is None:
            yield f"{name} is not a whole number"
        elif member.type_name == "timestamp":
            yield from _of_time(name, value)


def _of_time(name: str, value: Any) -> Iterator[str]:
    try:
        parse_timestamp(value)
    except (ValueError, TypeError, OverflowError, RuntimeError):
        yield f"{name} is not a time"


@functools.cache
def _model(service: str) -> ServiceModel:
    return ServiceModel(api_model(MOTO_SERVICES[service].api_name))
