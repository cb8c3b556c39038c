"""Which arguments of the API calls mean something here, which make no difference, and which are refused. [api]

A member that would make the endpoint a different one is refused, rather than left out without a word.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from botocore.model import Shape

from emulator.aws.service_models import Place


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
        used=_names(
            "ContainerHostname Image Mode ModelDataUrl ModelDataSource Environment MultiModelConfig "
            "ContainerMetricsConfig"
        ),
        ignored=_names("ImageConfig"),
        refused={
            "AdditionalModelDataSources": "put these files into the model's archive",
            "ModelPackageName": "there are no model packages here; give Image and ModelDataUrl",
            "InferenceSpecificationName": "there are no model packages here; give Image and ModelDataUrl",
        },
    ),
    "ContainerMetricsConfig": Members(used=_names("MetricsEndpoints")),
    "MetricsEndpoint": Members(used=_names("MetricsEndpointPath MetricPublishFrequencyInSeconds")),
    "ModelDataSource": Members(used=_names("S3DataSource")),
    "S3ModelDataSource": Members(
        used=_names("S3Uri S3DataType CompressionType"),
        ignored=_names("ModelAccessConfig"),
        refused={"ManifestS3Uri": "give a prefix", "HubAccessConfig": "there are no hubs here"},
    ),
    "MultiModelConfig": Members(used=_names("ModelCacheSetting")),
    "InferenceExecutionConfig": Members(used=_names("Mode")),
    "CreateEndpointConfigInput": Members(
        used=_names("EndpointConfigName ProductionVariants"),
        ignored=_names("Tags KmsKeyId ExecutionRoleArn VpcConfig EnableNetworkIsolation MetricsConfig ExplainerConfig"),
        refused={
            "CrossRegionTrafficConfig": "there is one region here; leave it out",
            "AsyncInferenceConfig": "endpoints here are real-time endpoints",
            "DataCaptureConfig": "nothing is captured here; leave it out, or set EnableCapture to false",
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
# Strings whose rules are not the API's: other things are allowed, more or fewer of them.
OF_OUR_OWN = {
    ("ContainerDefinition", "Image"),
    ("ContainerDefinition", "ModelDataUrl"),
    ("ProductionVariant", "InstanceType"),
    ("ProductionVariantRoutingConfig", "RoutingStrategy"),
}
ROUTING_STRATEGIES = ("RANDOM", "LEAST_OUTSTANDING_REQUESTS")  # those emulated


def not_emulated(of: Shape, asked: Any, place: Place) -> Iterator[tuple[Place, str]]:
    """Where there is something that is not emulated, and what to do instead."""
    if isinstance(asked, list) and of.type_name == "list":
        for position, item in enumerate(asked):
            yield from not_emulated(of.member, item, (*place, position))
    members = MEMBERS.get(of.name)
    if members is None or not isinstance(asked, dict):
        return
    for name in asked:
        if name in members.used and name in of.members:
            yield from not_emulated(of.members[name], asked[name], (*place, name))
        elif name in of.members and name not in members.ignored and not _switched_off(name, asked[name]):
            yield (*place, name), members.refused.get(name, "")


def _switched_off(name: str, asked: Any) -> bool:
    switch, off = SWITCHED_OFF.get(name, ("", None))
    return bool(switch) and isinstance(asked, dict) and asked.get(switch) is not None and asked[switch] == off


def places_of_our_own(of: Shape, asked: Any, place: Place) -> Iterator[Place]:
    """Where the API's rules for a string do not hold."""
    if isinstance(asked, list) and of.type_name == "list":
        for position, item in enumerate(asked):
            yield from places_of_our_own(of.member, item, (*place, position))
    elif isinstance(asked, dict) and of.type_name == "structure":
        for name in asked:
            if (of.name, name) in OF_OUR_OWN:
                yield (*place, name)
            elif name in of.members:
                yield from places_of_our_own(of.members[name], asked[name], (*place, name))
