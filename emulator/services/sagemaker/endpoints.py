"""CreateEndpoint, DescribeEndpoint, ListEndpoints, UpdateEndpoint, UpdateEndpointWeightsAndCapacities, DeleteEndpoint.

An endpoint's record remembers a copy of the configuration and the models that it was made from, as they may be deleted
while it runs. [dg]
"""

from __future__ import annotations

import logging
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

from emulator.errors import SetupError
from emulator.hosting.definition import EndpointDefinition, Image, VariantDefinition
from emulator.hosting.endpoint import TRIES_AGAIN, Endpoint
from emulator.services.sagemaker.control_plane import ControlPlane
from emulator.services.sagemaker.endpoint_configs import used_models, variants
from emulator.services.sagemaker.errors import (
    ControlPlaneError,
    failed_endpoint,
    in_progress,
    quota_exceeded,
    scaled_to_zero,
    variant_repeated,
    variants_not_found,
)
from emulator.services.sagemaker.listing import page
from emulator.services.sagemaker.registry import Record, now

log = logging.getLogger("localmme")
FAILURE_REASON_CHARACTERS = 1024  # [api]
Source = dict[str, Any]  # what an endpoint was made from: its configuration's name and arguments, and its models'


async def create(plane: ControlPlane, asked: dict[str, Any]) -> dict[str, Any]:
    name = asked["EndpointName"]
    plane.refuse_existing("endpoint", name)
    source = _source(plane, asked["EndpointConfigName"])
    definition = _definition(plane, name, source, {})
    _refuse_over_quota(plane, definition)
    endpoint = plane.endpoints.add(definition)
    try:
        record = await plane.create("endpoint", name, asked, {"source": source, "desired": {}})
    except ControlPlaneError:
        await plane.endpoints.remove(endpoint)
        raise
    plane.endpoints.in_background(_start(plane, record, endpoint))
    return {"EndpointArn": plane.arn_of(record)}


async def describe(plane: ControlPlane, asked: dict[str, Any]) -> dict[str, Any]:
    record = plane.get("endpoint", asked["EndpointName"])
    endpoint = _live(plane, record)
    answer = {
        "EndpointName": record.name,
        "EndpointArn": plane.arn_of(record),
        "EndpointConfigName": record.more["source"]["name"],
        "EndpointStatus": endpoint.status,
        "CreationTime": record.created,
        "LastModifiedTime": record.modified,
    }
    if endpoint.status in ("InService", "Updating"):
        answer["ProductionVariants"] = [_summary(endpoint, record, variant) for variant in endpoint.definition.variants]
    if "ExplainerConfig" in record.more["source"]["config"]:
        answer["ExplainerConfig"] = record.more["source"]["config"]["ExplainerConfig"]
    if endpoint.failure_reason:
        answer["FailureReason"] = _shortened(endpoint.failure_reason)
    if "deployment" in record.more:
        answer["LastDeploymentConfig"] = record.more["deployment"]
    return answer


async def list_(plane: ControlPlane, asked: dict[str, Any]) -> dict[str, Any]:
    records, more = page(plane.registry.all("endpoint"), asked, lambda record: _live(plane, record).status)
    endpoints = [
        {
            "EndpointName": record.name,
            "EndpointArn": plane.arn_of(record),
            "CreationTime": record.created,
            "LastModifiedTime": record.modified,
            "EndpointStatus": _live(plane, record).status,
        }
        for record in records
    ]
    return {"Endpoints": endpoints, **more}


async def update(plane: ControlPlane, asked: dict[str, Any]) -> dict[str, Any]:
    record = plane.get("endpoint", asked["EndpointName"])
    endpoint = _changeable(plane, record)
    source = _source(plane, asked["EndpointConfigName"])
    desired = _retained(endpoint, record, asked)
    definition = _definition(plane, record.name, source, desired)
    _refuse_over_quota(plane, definition)
    pending = {"source": source, "desired": desired}
    if "DeploymentConfig" in asked:
        pending["deployment"] = asked["DeploymentConfig"]
    elif asked.get("RetainDeploymentConfig") and "deployment" in record.more:
        pending["deployment"] = record.more["deployment"]
    await _modify(plane, record, {**record.more, "pending": pending})
    _begin(plane, endpoint, _replace(plane, record, endpoint, definition))
    return {"EndpointArn": plane.arn_of(record)}


async def update_weights_and_capacities(plane: ControlPlane, asked: dict[str, Any]) -> dict[str, Any]:
    record = plane.get("endpoint", asked["EndpointName"])
    endpoint = _changeable(plane, record)
    changes = asked["DesiredWeightsAndCapacities"]
    names, known = [change["VariantName"] for change in changes], {variant.name for variant in endpoint.variants}
    for name in names:
        if names.count(name) > 1:
            raise variant_repeated(name)
    if unknown := [name for name in names if name not in known]:
        raise variants_not_found(unknown, record.more["source"]["name"])
    if any("ServerlessUpdateConfig" in change for change in changes):
        raise ControlPlaneError("ServerlessUpdateConfig is not emulated by localmme: no variant is serverless.")
    for change in changes:
        if change.get("DesiredInstanceCount") == 0:
            raise scaled_to_zero(change["VariantName"])
    desired = {name: dict(values) for name, values in record.more["desired"].items()}
    for change in changes:
        values = desired.setdefault(change["VariantName"], {})
        values.update({key: change[key] for key in ("DesiredWeight", "DesiredInstanceCount") if key in change})
    wanted = [_adjusted(variant, desired.get(variant.name, {})) for variant in endpoint.definition.variants]
    _refuse_over_quota(plane, replace(endpoint.definition, variants=wanted))
    before = record.more
    await _modify(plane, record, {**before, "desired": desired})
    _begin(plane, endpoint, _adjust(plane, record, endpoint, before))
    return {"EndpointArn": plane.arn_of(record)}


async def delete(plane: ControlPlane, asked: dict[str, Any]) -> dict[str, Any]:
    record = plane.get("endpoint", asked["EndpointName"])
    endpoint = _live(plane, record)
    if endpoint.status not in ("InService", "Failed"):
        raise in_progress(plane.arn_of(record))
    await plane.unstore(record)
    _begin(plane, endpoint, _remove(plane, record, endpoint), "Deleting")
    return {}


def restore(plane: ControlPlane, record: Record) -> None:
    """Host again what an emulator that has ended had been asked for."""
    source, desired = record.more["source"], record.more["desired"]
    failure = record.more.get("failure", "")
    definition = EndpointDefinition(record.name, (), plane.region)  # a Failed one has nothing
    try:
        if not failure:
            definition = _definition(plane, record.name, source, desired)
    except ControlPlaneError as error:
        failure = str(error)
    endpoint = plane.endpoints.add(definition)
    if failure:
        endpoint.fail(failure)
    else:
        plane.endpoints.in_background(_start(plane, record, endpoint, again=True))


# What is done in the background


async def _start(plane: ControlPlane, record: Record, endpoint: Endpoint, again: bool = False) -> None:
    """Start the endpoint, and go on with an update that had been asked for."""
    try:
        await endpoint.start(TRIES_AGAIN if again else 1)
    except SetupError as error:
        # One that has been InService before may be again, when what is missing is there.
        if not again:
            await _remember(plane, record, {**record.more, "failure": str(error)})
        return
    record.modified = now()
    if pending := record.more.get("pending"):
        try:
            definition = _definition(plane, record.name, pending["source"], pending["desired"])
        except ControlPlaneError as error:
            endpoint.status = "Updating"
            await _remember(plane, record, _without_pending(record))
            await endpoint.settle(str(error))
            return
        await _replace(plane, record, endpoint, definition)


async def _replace(plane: ControlPlane, record: Record, endpoint: Endpoint, definition: EndpointDefinition) -> None:
    more, reason = _without_pending(record), ""
    try:
        await endpoint.update(definition)
        more.pop("deployment", None)  # the last one's
        more |= record.more["pending"]
    except SetupError as error:
        reason = str(error)
    await _remember(plane, record, more)
    await endpoint.settle(reason)


async def _adjust(plane: ControlPlane, record: Record, endpoint: Endpoint, before: dict[str, Any]) -> None:
    desired = record.more["desired"]
    weights = {name: values["DesiredWeight"] for name, values in desired.items() if "DesiredWeight" in values}
    counts = {
        name: values["DesiredInstanceCount"] for name, values in desired.items() if "DesiredInstanceCount" in values
    }
    more, reason = record.more, ""
    try:
        await endpoint.adjust(weights, counts)
    except SetupError as error:
        more, reason = before, str(error)
    await _remember(plane, record, more)
    await endpoint.settle(reason)


async def _remove(plane: ControlPlane, record: Record, endpoint: Endpoint) -> None:
    await plane.endpoints.remove(endpoint)
    plane.registry.forget(record)  # in the same step: whoever finds a record finds its endpoint


async def _remember(plane: ControlPlane, record: Record, more: dict[str, Any]) -> None:
    """Keep what a change has come to, before the endpoint can be changed again.

    When the disk does not take it, the endpoint goes on nevertheless: the next start goes through the change again.
    """
    _changed(record, more)  # at once, as the endpoint has changed at once
    try:
        async with plane.changing:
            if plane.registry.get("endpoint", record.name) is record:  # a Failed one may have been deleted meanwhile
                await plane.keep(record)
    except ControlPlaneError as error:
        log.warning("Endpoint %s: %s", record.name, error)


def _without_pending(record: Record) -> dict[str, Any]:
    return {name: value for name, value in record.more.items() if name != "pending"}


def _begin(plane: ControlPlane, endpoint: Endpoint, work: Coroutine[Any, Any, None], status: str = "Updating") -> None:
    # At once, so that whoever asks next is told.
    endpoint.status = status
    plane.endpoints.in_background(work)


# Records


async def _modify(plane: ControlPlane, record: Record, more: dict[str, Any]) -> None:
    before, modified = record.more, record.modified
    try:
        await plane.keep(_changed(record, more))
    except ControlPlaneError:
        record.more, record.modified = before, modified
        raise


def _changed(record: Record, more: dict[str, Any]) -> Record:
    record.more, record.modified = more, now()
    return record


def _source(plane: ControlPlane, config_name: str) -> Source:
    config = plane.get("endpoint-config", config_name)
    models = used_models(plane, config.asked)
    return {
        "name": config.name,
        "config": config.asked,
        "models": {name: {"asked": model.asked, "more": model.more} for name, model in models.items()},
    }


def _definition(
    plane: ControlPlane, name: str, source: Source, desired: dict[str, dict[str, Any]]
) -> EndpointDefinition:
    """What an endpoint is made from. Raises ControlPlaneError for what has become impossible."""
    models = {
        model_name: Record("model", model_name, model["asked"], more=model["more"])
        for model_name, model in source["models"].items()
    }
    found = [_adjusted(variant, desired.get(variant.name, {})) for variant in variants(plane, source["config"], models)]
    return EndpointDefinition(name, found, plane.region, source["name"])


def _refuse_over_quota(plane: ControlPlane, definition: EndpointDefinition) -> None:
    """Raises ControlPlaneError when there would be too many instances of a type, this endpoint's own replaced."""
    for instance_type in {variant.instance_type for variant in definition.variants}:
        used = sum(
            len(variant.instances)
            for endpoint in plane.endpoints
            if endpoint.definition.name != definition.name
            for variant in endpoint.variants
            if variant.instance_type == instance_type
        )
        more = sum(each.instance_count for each in definition.variants if each.instance_type == instance_type)
        if used + more > plane.instances_of_a_type:
            raise quota_exceeded(instance_type or "any instance", plane.instances_of_a_type, used, more)


def _adjusted(variant: VariantDefinition, values: dict[str, Any]) -> VariantDefinition:
    return replace(
        variant,
        weight=values.get("DesiredWeight", variant.weight),
        instance_count=values.get("DesiredInstanceCount", variant.instance_count),
    )


def _retained(endpoint: Endpoint, record: Record, asked: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The weights and counts that an update leaves as they are. [api]"""
    if not asked.get("RetainAllVariantProperties"):
        return {}
    excluded = {each["VariantPropertyType"] for each in asked.get("ExcludeRetainedVariantProperties", ())}
    now = {
        variant.name: {"DesiredWeight": variant.weight, "DesiredInstanceCount": len(variant.instances)}
        for variant in endpoint.variants
    }
    return {name: {key: value for key, value in values.items() if key not in excluded} for name, values in now.items()}


# Endpoints


def _live(plane: ControlPlane, record: Record) -> Endpoint:
    endpoint = plane.endpoints.get(record.name)
    assert endpoint is not None  # it lives as long as its record
    return endpoint


def _changeable(plane: ControlPlane, record: Record) -> Endpoint:
    """Raises ControlPlaneError while the endpoint is being changed, and when it is Failed."""
    endpoint = _live(plane, record)
    if endpoint.status == "Failed":
        raise failed_endpoint(plane.arn_of(record))
    if endpoint.status != "InService":
        raise in_progress(plane.arn_of(record))
    return endpoint


def _summary(endpoint: Endpoint, record: Record, definition: VariantDefinition) -> dict[str, Any]:
    variant = next(each for each in endpoint.variants if each.name == definition.name)
    desired = record.more["desired"].get(definition.name, {})
    images = [container.runs for container in definition.model.containers]
    return {
        "VariantName": definition.name,
        "DeployedImages": [
            {
                "SpecifiedImage": runs.reference if isinstance(runs, Image) else runs.image,
                "ResolutionTime": record.created,
            }
            for runs in images
        ],
        "CurrentWeight": variant.weight,
        "DesiredWeight": desired.get("DesiredWeight", definition.weight),
        "CurrentInstanceCount": len(variant.instances),
        "DesiredInstanceCount": desired.get("DesiredInstanceCount", definition.instance_count),
    }


def _shortened(reason: str) -> str:
    """What happened is at the beginning, and the container's last words are at the end."""
    if len(reason) <= FAILURE_REASON_CHARACTERS:
        return reason
    half = FAILURE_REASON_CHARACTERS // 2
    return f"{reason[: half - 3]}...{reason[-half:]}"
