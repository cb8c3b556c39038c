"""CreateEndpoint, DescribeEndpoint, ListEndpoints, UpdateEndpoint, UpdateEndpointWeightsAndCapacities, DeleteEndpoint.

An endpoint's record has a copy of its configuration and models, as these may be deleted while the endpoint runs. [dg]
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from emulator.aws.errors import AwsError
from emulator.errors import SetupError
from emulator.hosting.definition import EndpointDefinition, VariantDefinition
from emulator.hosting.endpoint import TRIES_AGAIN, Endpoint
from emulator.services.sagemaker import data_capture, endpoint_configs, models
from emulator.services.sagemaker.control_plane import ControlPlane
from emulator.services.sagemaker.definitions import variant_definition
from emulator.services.sagemaker.errors import (
    failed_endpoint,
    in_progress,
    quota_exceeded,
    scaled_to_zero,
    validation_error,
    variant_repeated,
    variants_not_found,
)
from emulator.services.sagemaker.listing import page
from emulator.services.sagemaker.records import (
    Deployment,
    Deployments,
    DesiredVariant,
    EndpointConfigRecord,
    EndpointRecord,
    now,
)

log = logging.getLogger("localmme")
FAILURE_REASON_CHARACTERS = 1024  # [api]


async def create(control_plane: ControlPlane, request: dict[str, Any]) -> dict[str, Any]:
    name = request["EndpointName"]
    control_plane.refuse_existing(EndpointRecord, name)
    record = EndpointRecord(
        name, request, deployments=Deployments(deployment(control_plane, request["EndpointConfigName"]))
    )
    definition = await _definition(control_plane, name, record.deployments.current)
    _refuse_over_quota(control_plane, definition)
    endpoint = control_plane.endpoints.add(definition)
    try:
        await control_plane.create(record)
    except AwsError:
        await control_plane.endpoints.remove(endpoint)
        raise
    control_plane.endpoints.in_background(_start(control_plane, record, endpoint))
    return {"EndpointArn": control_plane.arn_of(record)}


async def describe(control_plane: ControlPlane, request: dict[str, Any]) -> dict[str, Any]:
    record = control_plane.get(EndpointRecord, request["EndpointName"])
    endpoint, deployed = _live(control_plane, record), record.deployments.current
    answer = {
        "EndpointName": record.name,
        "EndpointArn": control_plane.arn_of(record),
        "EndpointConfigName": deployed.config_name,
        "EndpointStatus": endpoint.status,
        "CreationTime": record.created,
        "LastModifiedTime": record.modified,
    }
    if endpoint.status in ("InService", "Updating"):
        answer["ProductionVariants"] = [_summary(endpoint, record, variant) for variant in endpoint.definition.variants]
    if data_capture.CONFIG in deployed.config:
        takes_invocations = endpoint.status in ("InService", "Updating")
        answer[data_capture.CONFIG] = data_capture.summary(deployed.config, takes_invocations)
    if "ExplainerConfig" in deployed.config:
        answer["ExplainerConfig"] = deployed.config["ExplainerConfig"]
    if endpoint.failure_reason:
        answer["FailureReason"] = _shortened(endpoint.failure_reason)
    if deployed.deployment_config is not None:
        answer["LastDeploymentConfig"] = deployed.deployment_config
    return answer


async def list_(control_plane: ControlPlane, request: dict[str, Any]) -> dict[str, Any]:
    records, more = page(
        control_plane.registry.all(EndpointRecord), request, lambda record: _live(control_plane, record).status
    )
    endpoints = [
        {
            "EndpointName": record.name,
            "EndpointArn": control_plane.arn_of(record),
            "CreationTime": record.created,
            "LastModifiedTime": record.modified,
            "EndpointStatus": _live(control_plane, record).status,
        }
        for record in records
    ]
    return {"Endpoints": endpoints, **more}


async def update(control_plane: ControlPlane, request: dict[str, Any]) -> dict[str, Any]:
    record = control_plane.get(EndpointRecord, request["EndpointName"])
    endpoint = _changeable(control_plane, record)
    retained = record.deployments.current.deployment_config if request.get("RetainDeploymentConfig") else None
    pending = replace(
        deployment(control_plane, request["EndpointConfigName"]),
        desired=_retained(endpoint, request),
        deployment_config=request.get("DeploymentConfig", retained),
    )
    definition = await _definition(control_plane, record.name, pending)
    _refuse_over_quota(control_plane, definition)
    await _modify(control_plane, record, replace(record.deployments, pending=pending))
    endpoint.begin_update()
    control_plane.endpoints.in_background(_replace(control_plane, record, endpoint, definition, pending))
    return {"EndpointArn": control_plane.arn_of(record)}


async def update_weights_and_capacities(control_plane: ControlPlane, request: dict[str, Any]) -> dict[str, Any]:
    record = control_plane.get(EndpointRecord, request["EndpointName"])
    endpoint = _changeable(control_plane, record)
    changes = request["DesiredWeightsAndCapacities"]
    names, known = [change["VariantName"] for change in changes], {variant.name for variant in endpoint.variants}
    for name in names:
        if names.count(name) > 1:
            raise variant_repeated(name)
    if unknown := [name for name in names if name not in known]:
        raise variants_not_found(unknown, record.deployments.current.config_name)
    if any("ServerlessUpdateConfig" in change for change in changes):
        raise validation_error("ServerlessUpdateConfig is not emulated by localmme: no variant is serverless.")
    for change in changes:
        if change.get("DesiredInstanceCount") == 0:
            raise scaled_to_zero(change["VariantName"])
    before = record.deployments
    desired = dict(before.current.desired)
    for change in changes:
        one = desired.get(change["VariantName"], DesiredVariant())
        desired[change["VariantName"]] = DesiredVariant(
            change.get("DesiredWeight", one.weight), change.get("DesiredInstanceCount", one.instance_count)
        )
    wanted = [_adjusted(variant, desired) for variant in endpoint.definition.variants]
    _refuse_over_quota(control_plane, replace(endpoint.definition, variants=wanted))
    await _modify(control_plane, record, replace(before, current=replace(before.current, desired=desired)))
    endpoint.begin_update()
    control_plane.endpoints.in_background(_adjust(control_plane, record, endpoint, before))
    return {"EndpointArn": control_plane.arn_of(record)}


async def delete(control_plane: ControlPlane, request: dict[str, Any]) -> dict[str, Any]:
    record = control_plane.get(EndpointRecord, request["EndpointName"])
    endpoint = _live(control_plane, record)
    if endpoint.status not in ("InService", "Failed"):
        raise in_progress(control_plane.arn_of(record))
    await control_plane.unstore(record)
    endpoint.begin_deletion()
    control_plane.endpoints.in_background(_remove(control_plane, record, endpoint))
    return {}


async def restore(control_plane: ControlPlane, record: EndpointRecord, ready: asyncio.Event) -> None:
    """Host the endpoint of a record that an earlier emulator stored: Creating at once, and started when ``ready``."""
    definition, failure = await definition_of(control_plane, record)
    endpoint = control_plane.endpoints.add(definition)
    if failure:
        endpoint.fail(failure)
    else:
        control_plane.endpoints.in_background(_start_again(control_plane, record, endpoint, ready))


async def definition_of(control_plane: ControlPlane, record: EndpointRecord) -> tuple[EndpointDefinition, str]:
    """An endpoint's definition, and why it cannot be hosted: empty if it can, else the definition has no variants."""
    failure = record.deployments.failure
    definition = EndpointDefinition(record.name, (), control_plane.region)  # a Failed endpoint has no variants
    try:
        if not failure:
            definition = await _definition(control_plane, record.name, record.deployments.current)
    except AwsError as error:
        failure = str(error)
    return definition, failure


# Work in the background, after the answer


async def _start_again(
    control_plane: ControlPlane, record: EndpointRecord, endpoint: Endpoint, ready: asyncio.Event
) -> None:
    await ready.wait()
    await _start(control_plane, record, endpoint, again=True)


async def _start(control_plane: ControlPlane, record: EndpointRecord, endpoint: Endpoint, again: bool = False) -> None:
    """Start the endpoint, and then continue an update that the emulator's end had interrupted.

    ``again``: it has been InService before, under an earlier emulator.
    """
    try:
        await endpoint.start(TRIES_AGAIN if again else 1)
    except SetupError as error:
        # One that has been InService before may be so again, once what is missing is back.
        if not again:
            await _remember(control_plane, record, replace(record.deployments, failure=str(error)))
        return
    record.modified = now()
    if pending := record.deployments.pending:
        endpoint.begin_update()
        try:
            definition = await _definition(control_plane, record.name, pending)
        except AwsError as error:
            await _remember(control_plane, record, replace(record.deployments, pending=None))
            await endpoint.finish_update(str(error))
            return
        await _replace(control_plane, record, endpoint, definition, pending)


async def _replace(
    control_plane: ControlPlane,
    record: EndpointRecord,
    endpoint: Endpoint,
    definition: EndpointDefinition,
    pending: Deployment,
) -> None:
    current, reason = record.deployments.current, ""
    try:
        await endpoint.update(definition)
        current = pending
    except SetupError as error:
        reason = str(error)
    await _remember(control_plane, record, replace(record.deployments, current=current, pending=None))
    await endpoint.finish_update(reason)


async def _adjust(control_plane: ControlPlane, record: EndpointRecord, endpoint: Endpoint, before: Deployments) -> None:
    desired = record.deployments.current.desired
    weights = {name: one.weight for name, one in desired.items() if one.weight is not None}
    counts = {name: one.instance_count for name, one in desired.items() if one.instance_count is not None}
    deployments, reason = record.deployments, ""
    try:
        await endpoint.update_weights_and_capacities(weights, counts)
    except SetupError as error:
        deployments, reason = before, str(error)
    await _remember(control_plane, record, deployments)
    await endpoint.finish_update(reason)


async def _remove(control_plane: ControlPlane, record: EndpointRecord, endpoint: Endpoint) -> None:
    await control_plane.endpoints.remove(endpoint)
    control_plane.registry.forget(record)  # without an await in between: each record has its endpoint


async def _remember(control_plane: ControlPlane, record: EndpointRecord, deployments: Deployments) -> None:
    """Store the outcome of a change, before the endpoint can be changed again.

    If it cannot be written, the endpoint serves nevertheless, and the next start repeats the change.
    """
    _changed(record, deployments)  # at once, as the endpoint has changed already
    try:
        async with control_plane.changing:
            # A Failed endpoint may have been deleted meanwhile.
            if control_plane.registry.get(EndpointRecord, record.name) is record:
                await control_plane.keep(record)
    except AwsError as error:
        log.warning("Endpoint %s: %s", record.name, error)


# Records


async def _modify(control_plane: ControlPlane, record: EndpointRecord, deployments: Deployments) -> None:
    """Change a record. Raises AwsError when it cannot be written; the record is then unchanged."""
    before, modified = record.deployments, record.modified
    try:
        await control_plane.keep(_changed(record, deployments))
    except AwsError:
        record.deployments, record.modified = before, modified
        raise


def _changed(record: EndpointRecord, deployments: Deployments) -> EndpointRecord:
    record.deployments, record.modified = deployments, now()
    return record


def deployment(control_plane: ControlPlane, config_name: str) -> Deployment:
    """Copies of a configuration and its models. Raises AwsError when one of them does not exist."""
    config = control_plane.get(EndpointConfigRecord, config_name)
    used = endpoint_configs.used_models(control_plane, config.arguments)
    return Deployment(config.name, config.arguments, used, instances=config.instances)


async def _definition(control_plane: ControlPlane, name: str, deployment: Deployment) -> EndpointDefinition:
    """An endpoint's definition. Raises AwsError if it can no longer be hosted, as its image's file is gone."""
    return await asyncio.to_thread(_look_for_definition, control_plane, name, deployment)


def _look_for_definition(control_plane: ControlPlane, name: str, deployment: Deployment) -> EndpointDefinition:
    config = deployment.config
    used = {model_name: models.definition(control_plane, model) for model_name, model in deployment.models.items()}
    requests = {model_name: model.arguments for model_name, model in deployment.models.items()}
    endpoint_configs.check(config, requests, control_plane.s3_root)
    detailed = config.get("MetricsConfig", {}).get("EnableDetailedObservability", True)
    variants = [
        variant_definition(variant, used[variant["ModelName"]], deployment.instances, detailed)
        for variant in config["ProductionVariants"]
    ]
    adjusted = [_adjusted(variant, deployment.desired) for variant in variants]
    return EndpointDefinition(
        name, adjusted, control_plane.region, data_capture.data_capture(config), explained="ExplainerConfig" in config
    )


def _refuse_over_quota(control_plane: ControlPlane, definition: EndpointDefinition) -> None:
    """Raises AwsError when there would be too many instances of a type. Those it replaces do not count."""
    for instance_type in {variant.instance_type for variant in definition.variants}:
        used = sum(
            len(variant.instances)
            for endpoint in control_plane.endpoints
            if endpoint.definition.name != definition.name
            for variant in endpoint.variants
            if variant.instance_type == instance_type
        )
        more = sum(each.instance_count for each in definition.variants if each.instance_type == instance_type)
        if used + more > control_plane.instances_of_a_type:
            raise quota_exceeded(instance_type or "any instance", control_plane.instances_of_a_type, used, more)


def _adjusted(variant: VariantDefinition, desired: Mapping[str, DesiredVariant]) -> VariantDefinition:
    one = desired.get(variant.name, DesiredVariant())
    return replace(
        variant,
        weight=variant.weight if one.weight is None else one.weight,
        instance_count=variant.instance_count if one.instance_count is None else one.instance_count,
    )


def _retained(endpoint: Endpoint, request: dict[str, Any]) -> dict[str, DesiredVariant]:
    """The weights and instance counts that an update retains, by variant. [api]"""
    if not request.get("RetainAllVariantProperties"):
        return {}
    excluded = {each["VariantPropertyType"] for each in request.get("ExcludeRetainedVariantProperties", ())}
    return {
        variant.name: DesiredVariant(
            None if "DesiredWeight" in excluded else variant.weight,
            None if "DesiredInstanceCount" in excluded else len(variant.instances),
        )
        for variant in endpoint.variants
    }


# Endpoints


def _live(control_plane: ControlPlane, record: EndpointRecord) -> Endpoint:
    endpoint = control_plane.endpoints.get(record.name)
    assert endpoint is not None  # it lives as long as its record
    return endpoint


def _changeable(control_plane: ControlPlane, record: EndpointRecord) -> Endpoint:
    """Raises AwsError while the endpoint is being changed, and when it is Failed."""
    endpoint = _live(control_plane, record)
    if endpoint.status == "Failed":
        raise failed_endpoint(control_plane.arn_of(record))
    if endpoint.status != "InService":
        raise in_progress(control_plane.arn_of(record))
    return endpoint


def _summary(endpoint: Endpoint, record: EndpointRecord, definition: VariantDefinition) -> dict[str, Any]:
    variant = next(each for each in endpoint.variants if each.name == definition.name)
    desired = _adjusted(definition, record.deployments.current.desired)
    return {
        "VariantName": definition.name,
        "DeployedImages": [
            {"SpecifiedImage": container.runs.image, "ResolutionTime": record.created}
            for container in definition.model.containers
        ],
        "CurrentWeight": variant.weight,
        "DesiredWeight": desired.weight,
        "CurrentInstanceCount": len(variant.instances),
        "DesiredInstanceCount": desired.instance_count,
    }


def _shortened(reason: str) -> str:
    """A reason without its middle: it begins with what happened, and ends with the container's last lines of log."""
    if len(reason) <= FAILURE_REASON_CHARACTERS:
        return reason
    half = FAILURE_REASON_CHARACTERS // 2
    return f"{reason[: half - 3]}...{reason[-half:]}"
