"""Checks a request against botocore's model of the API, and reports problems in SageMaker's words. [reports]"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from emulator.aws.errors import not_serializable
from emulator.aws.service_models import Place, Problem, problems
from emulator.services.sagemaker.errors import validation_error

if TYPE_CHECKING:
    from botocore.model import StructureShape


def check(shape: StructureShape, request: Any) -> None:
    """Raises AwsError with all problems. Members that the API does not know are ignored. [run]"""
    if not isinstance(request, dict):
        raise not_serializable("Expected a JSON object")
    found = [problem for problem in problems(shape, request) if problem.kind != "unknown" and not _is_allowed(problem)]
    for problem in found:
        if problem.kind == "type":
            raise not_serializable(f"{_path(problem.place)} {problem.message}")
    if found:
        constraints = "; ".join(_constraint(problem, _value_at(problem.place, request)) for problem in found)
        many = "errors" if len(found) > 1 else "error"
        raise validation_error(f"{len(found)} validation {many} detected: {constraints}")


def _is_allowed(problem: Problem) -> bool:
    """Images may have values here that SageMaker does not allow: see ``emulator.services.sagemaker.image``."""
    return problem.kind == "pattern" and problem.place[-1] in ("Image", "TrainingImage")


def _constraint(problem: Problem, value: Any) -> str:
    text = "null" if problem.kind == "missing" else f"'{_as_text(value)}'"
    return f"Value {text} at '{_path(problem.place)}' failed to satisfy constraint: {_rule(problem, value)}"


def _rule(problem: Problem, value: Any) -> str:
    size = "value" if isinstance(value, (int, float)) else "length"
    if problem.kind == "missing":
        return "Member must not be null"
    if problem.kind == "enum":
        return f"Member must satisfy enum value set: [{', '.join(problem.bound)}]"
    if problem.kind == "pattern":
        return f"Member must satisfy regular expression pattern: {problem.bound}"
    if problem.kind == "min":
        return f"Member must have {size} greater than or equal to {problem.bound}"
    if problem.kind == "max":
        return f"Member must have {size} less than or equal to {problem.bound}"
    return f"Member must have exactly one of {', '.join(problem.bound)}"


def _value_at(place: Place, value: Any) -> Any:
    for step in place:
        if isinstance(value, Mapping):
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int):
            value = value[step]
    return value


def _as_text(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}={_as_text(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(_as_text(each) for each in value)}]"
    return str(value)


def _path(place: Place) -> str:
    """``productionVariants.1.member.variantName``: items are counted from 1."""
    steps = [f"{step + 1}.member" if isinstance(step, int) else step[:1].lower() + step[1:] for step in place]
    return ".".join(steps)
