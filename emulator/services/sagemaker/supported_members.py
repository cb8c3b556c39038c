"""Which members of requests are used here, which are accepted and ignored, and which are refused. [api]

A member that would change the behaviour of an endpoint or a job is refused rather than ignored silently.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from emulator.aws.service_models import Place

if TYPE_CHECKING:
    from botocore.model import Shape


@dataclass(frozen=True)
class Members:
    """How the members of one of the API's structures are treated. A member that is not listed is refused."""

    used: frozenset[str]
    ignored: frozenset[str] = frozenset()  # validated, but without an effect here
    refused: Mapping[str, str] = field(default_factory=dict)  # member -> what to do instead; may be empty


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


HOSTING = {
    "CreateModelInput": Members(
        used=_names(
            "ModelName PrimaryContainer Containers InferenceExecutionConfig ExecutionRoleArn EnableNetworkIsolation"
        ),
        ignored=_names("Tags VpcConfig"),
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
        used=_names("EndpointConfigName ProductionVariants DataCaptureConfig ExplainerConfig"),
        ignored=_names("Tags KmsKeyId ExecutionRoleArn VpcConfig EnableNetworkIsolation MetricsConfig"),
        refused={
            "CrossRegionTrafficConfig": "there is one region here; leave it out",
            "AsyncInferenceConfig": "endpoints here are real-time endpoints",
            "ShadowProductionVariants": "",
        },
    ),
    "DataCaptureConfig": Members(
        used=_names("EnableCapture InitialSamplingPercentage DestinationS3Uri CaptureOptions CaptureContentTypeHeader"),
        ignored=_names("KmsKeyId"),
    ),
    "CaptureOption": Members(used=_names("CaptureMode")),
    "CaptureContentTypeHeader": Members(used=_names("CsvContentTypes JsonContentTypes")),
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
            "InferenceAmiVersion": "containers use the drivers of this machine; leave it out",
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
TRAINING = {
    "CreateTrainingJobRequest": Members(
        used=_names(
            "TrainingJobName HyperParameters AlgorithmSpecification RoleArn InputDataConfig OutputDataConfig "
            "ResourceConfig StoppingCondition EnableNetworkIsolation CheckpointConfig Environment"
        ),
        ignored=_names(
            "Tags VpcConfig EnableInterContainerTrafficEncryption DebugHookConfig DebugRuleConfigurations "
            "TensorBoardOutputConfig ExperimentConfig ProfilerConfig ProfilerRuleConfigurations RetryStrategy "
            "RemoteDebugConfig InfraCheckConfig SessionChainingConfig"
        ),
        refused={
            "EnableManagedSpotTraining": "nothing is interrupted here; leave it out",
            "ServerlessJobConfig": "give AlgorithmSpecification and ResourceConfig",
            "MlflowConfig": "there is no MLflow server here; leave it out",
            "ModelPackageConfig": "there are no model packages here; leave it out",
        },
    ),
    "AlgorithmSpecification": Members(
        used=_names("TrainingImage TrainingInputMode MetricDefinitions ContainerEntrypoint ContainerArguments"),
        ignored=_names("EnableSageMakerMetricsTimeSeries TrainingImageConfig"),
        refused={"AlgorithmName": "there is no marketplace here; give TrainingImage"},
    ),
    "Channel": Members(
        used=_names("ChannelName DataSource CompressionType InputMode"),
        ignored=_names("ContentType RecordWrapperType ShuffleConfig"),
    ),
    "DataSource": Members(
        used=_names("S3DataSource"),
        refused={
            "FileSystemDataSource": "there are no file systems here; give S3DataSource",
            "DatasetSource": "there are no hubs here; give S3DataSource",
        },
    ),
    "S3DataSource": Members(
        used=_names("S3DataType S3Uri"),
        # One instance gets all objects, however they are distributed.
        ignored=_names("S3DataDistributionType ModelAccessConfig"),
        refused={
            "AttributeNames": "augmented manifests are not emulated",
            "InstanceGroupNames": "jobs here have one instance; leave it out",
            "HubAccessConfig": "there are no hubs here",
        },
    ),
    "OutputDataConfig": Members(used=_names("S3OutputPath CompressionType"), ignored=_names("KmsKeyId")),
    "ResourceConfig": Members(
        used=_names("InstanceType InstanceCount VolumeSizeInGB"),
        ignored=_names("VolumeKmsKeyId KeepAlivePeriodInSeconds"),
        refused={
            "InstanceGroups": "jobs here have one instance; give InstanceType and InstanceCount 1",
            "TrainingPlanArn": "there are no training plans here; leave it out",
            "InstancePlacementConfig": "jobs here have one instance; leave it out",
            "InstancePreferences": "give InstanceType and InstanceCount 1",
        },
    ),
    "StoppingCondition": Members(
        used=_names("MaxRuntimeInSeconds"), ignored=_names("MaxWaitTimeInSeconds MaxPendingTimeInSeconds")
    ),
    "CheckpointConfig": Members(used=_names("S3Uri LocalPath")),
}
TRANSFORM = {
    "CreateTransformJobRequest": Members(
        used=_names(
            "TransformJobName ModelName MaxConcurrentTransforms ModelClientConfig MaxPayloadInMB BatchStrategy "
            "Environment TransformInput TransformOutput TransformResources DataProcessing"
        ),
        ignored=_names("Tags ExperimentConfig"),
        refused={"DataCaptureConfig": "of transform jobs, nothing is captured here; leave it out"},
    ),
    "ModelClientConfig": Members(used=_names("InvocationsTimeoutInSeconds InvocationsMaxRetries")),
    "TransformInput": Members(used=_names("DataSource ContentType CompressionType SplitType")),
    "TransformDataSource": Members(used=_names("S3DataSource")),
    "TransformS3DataSource": Members(used=_names("S3DataType S3Uri")),
    "TransformOutput": Members(used=_names("S3OutputPath Accept AssembleWith"), ignored=_names("KmsKeyId")),
    # One instance transforms all objects, however many are requested.
    "TransformResources": Members(
        used=_names("InstanceType"), ignored=_names("InstanceCount VolumeKmsKeyId TransformAmiVersion")
    ),
    "DataProcessing": Members(used=_names("InputFilter OutputFilter JoinSource")),
}
MEMBERS = {**HOSTING, **TRAINING, **TRANSFORM}
# Refused members that are accepted when they switch themselves off: member -> (switch, value that means off).
SWITCHED_OFF: Mapping[str, tuple[str, Any]] = {
    "ManagedInstanceScaling": ("Status", "DISABLED"),
}
# Refused members that are accepted when they are false.
FLAGS = ("EnableManagedSpotTraining",)
# Strings to which the rules of this emulator apply instead of the API's: (structure, member).
OWN_RULES = {
    ("AlgorithmSpecification", "TrainingImage"),
    ("ContainerDefinition", "Image"),
    ("ContainerDefinition", "ModelDataUrl"),
    ("ProductionVariant", "InstanceType"),
    ("ProductionVariantRoutingConfig", "RoutingStrategy"),
}
ROUTING_STRATEGIES = ("RANDOM", "LEAST_OUTSTANDING_REQUESTS")  # those that are emulated


def unsupported_members(shape: Shape, value: Any, place: Place) -> Iterator[tuple[Place, str]]:
    """The place of each refused member in a value of that shape, and what to do instead (may be empty)."""
    if isinstance(value, list) and shape.type_name == "list":
        for position, item in enumerate(value):
            yield from unsupported_members(shape.member, item, (*place, position))
    members = MEMBERS.get(shape.name)
    if members is None or not isinstance(value, dict):
        return
    for name in value:
        if name in members.used and name in shape.members:
            yield from unsupported_members(shape.members[name], value[name], (*place, name))
        elif name in shape.members and name not in members.ignored and not _is_switched_off(name, value[name]):
            yield (*place, name), members.refused.get(name, "")


def _is_switched_off(name: str, value: Any) -> bool:
    if name in FLAGS and value is False:
        return True
    switch, off = SWITCHED_OFF.get(name, ("", None))
    return bool(switch) and isinstance(value, dict) and value.get(switch) is not None and value[switch] == off


def places_with_own_rules(shape: Shape, value: Any, place: Place) -> Iterator[Place]:
    """The place of each string in a value of that shape to which the API's rules do not apply."""
    if isinstance(value, list) and shape.type_name == "list":
        for position, item in enumerate(value):
            yield from places_with_own_rules(shape.member, item, (*place, position))
    elif isinstance(value, dict) and shape.type_name == "structure":
        for name in value:
            if (shape.name, name) in OWN_RULES:
                yield (*place, name)
            elif name in shape.members:
                yield from places_with_own_rules(shape.members[name], value[name], (*place, name))
