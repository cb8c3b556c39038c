"""What SDKs ask for beside models and endpoints: an account that has none of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel

from emulator.aws.errors import AwsError
from emulator.events import Warned
from emulator.services.sagemaker import empty_lists
from emulator.services.sagemaker.app import OPERATIONS
from tests.support.fake_containers import DirectControlPlane, FakeContainers

API = ServiceModel(Loader().load_service_model("sagemaker", "service-2"), "sagemaker")
EXPLAINER = {
    "ClarifyExplainerConfig": {
        "ShapConfig": {"ShapBaselineConfig": {"MimeType": "text/csv", "ShapBaseline": "1,2"}},
        "EnableExplanations": "`true`",
    }
}


NAMES = [name for name in API.operation_names if name not in OPERATIONS and empty_lists.operation(name)]
# What SDKs and notebooks call around training, hosting and clean-up.
CALLED = """
ListMonitoringSchedules ListMonitoringExecutions ListDataQualityJobDefinitions ListModelQualityJobDefinitions
ListModelBiasJobDefinitions ListModelExplainabilityJobDefinitions ListInferenceComponents ListContexts ListArtifacts
ListActions ListAssociations ListTrialComponents ListTrials ListExperiments ListProcessingJobs
ListHyperParameterTuningJobs ListCompilationJobs ListModelPackages ListModelPackageGroups ListNotebookInstances
ListLabelingJobs ListAutoMLJobs ListPipelines ListFeatureGroups ListAlgorithms ListInferenceRecommendationsJobs
ListModelCards ListDomains ListUserProfiles ListProjects ListCodeRepositories
"""


@pytest.fixture(scope="module")
def called(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., tuple[int, dict[str, Any]]]]:
    """Makes a call, all on one control plane."""
    loop = asyncio.new_event_loop()
    control_plane = DirectControlPlane(tmp_path_factory.mktemp("control-plane"))
    yield lambda operation, **asked: loop.run_until_complete(control_plane.call(operation, **asked))
    loop.run_until_complete(control_plane.close())
    loop.close()


Called = Callable[..., tuple[int, dict[str, Any]]]


@pytest.mark.parametrize("operation", CALLED.split())
def test_lists_are_empty(called: Called, operation: str) -> None:
    (member,) = set(API.operation_model(operation).output_shape.members) - {"NextToken"}
    assert called(operation) == (200, {member: []})


def test_no_other_operation_has_another_answer() -> None:
    assert set(CALLED.split()) < set(NAMES)
    unused: Any = None
    for name in NAMES:
        call = empty_lists.operation(name)
        assert call is not None
        request = {
            **dict.fromkeys(API.operation_model(name).input_shape.required_members, "any"),
            "Resource": "Pipeline",
        }
        try:
            (value,) = asyncio.run(call(unused, request)).values()
            assert value == [] and name.startswith(("List", "Search"))
        except AwsError as error:
            assert error.code in ("ResourceNotFound", "ValidationException") and "Could not find" in error.message


@pytest.mark.parametrize(
    ("operation", "member", "code", "words"),
    [
        ("DescribeMonitoringSchedule", "MonitoringScheduleName", "ResourceNotFound", 'Could not find "any".'),
        ("DeleteMonitoringSchedule", "MonitoringScheduleName", "ResourceNotFound", 'Could not find "any".'),
        ("DescribeContext", "ContextName", "ResourceNotFound", 'Could not find "any".'),
        ("DescribeTrialComponent", "TrialComponentName", "ResourceNotFound", 'Could not find "any".'),
        ("DescribeModelPackageGroup", "ModelPackageGroupName", "ValidationException", 'Could not find "any".'),
        ("ListPipelineExecutions", "PipelineName", "ResourceNotFound", 'Could not find "any".'),
        ("DescribeProcessingJob", "ProcessingJobName", "ValidationException",
         "Could not find requested job with name: any."),
        ("StopHyperParameterTuningJob", "HyperParameterTuningJobName", "ValidationException",
         "Could not find requested job with name: any."),
    ],
)  # fmt: skip
def test_a_named_resource_is_not_found(called: Called, operation: str, member: str, code: str, words: str) -> None:
    assert called(operation, **{member: "any"}) == (400, {"__type": code, "message": words})


def test_a_search_finds_nothing_of_what_cannot_be_created_here(called: Called) -> None:
    assert called("Search", Resource="ExperimentTrialComponent") == (200, {"Results": []})
    status, answer = called("Search", Resource="TrainingJob")
    assert (status, answer["__type"]) == (400, "UnknownOperationException")
    assert answer["message"].startswith("Search for TrainingJob is an operation of SageMaker that localmme does not")


@pytest.mark.parametrize("operation", ["ListHubs", "ListHubContents", "DeleteEndpointPolicy", "CreatePipeline"])
def test_what_could_be_there_is_not_said_to_be_missing(operation: str) -> None:
    assert empty_lists.operation(operation) is None


def test_the_lists_of_an_endpoint_are_asked_for_with_arguments(called: Called) -> None:
    assert called("ListMonitoringSchedules", EndpointName="local")[0] == 200
    status, answer = called("ListMonitoringSchedules", EndpointName="not a name")
    assert (status, answer["__type"]) == (400, "ValidationException")


def test_an_explainer_is_kept_and_a_warning_says_that_nothing_is_explained(
    tmp_path: Path, containers: FakeContainers
) -> None:
    warned: list[Any] = []

    async def scenario() -> None:
        async with containers.serving():
            control_plane = DirectControlPlane(tmp_path)
            control_plane.events.subscribe(lambda event, _: warned.append(event), Warned)
            await control_plane.configure("explained")
            variant = {"VariantName": "A", "ModelName": "explained", "InstanceType": "ml.m5.large"}
            variants = [{**variant, "InitialInstanceCount": 1}]
            config = {"EndpointConfigName": "with", "ProductionVariants": variants, "ExplainerConfig": EXPLAINER}
            assert (await control_plane.call("CreateEndpointConfig", **config))[0] == 200
            await control_plane.call("CreateEndpoint", EndpointName="e", EndpointConfigName="with")
            for asked in ({"operation": "DescribeEndpointConfig", "EndpointConfigName": "with"},
                          {"operation": "DescribeEndpoint", "EndpointName": "e"}):  # fmt: skip
                assert (await control_plane.call(**asked))[1]["ExplainerConfig"] == EXPLAINER
            while await control_plane.status("e") == "Creating":
                await asyncio.sleep(0.001)
            await control_plane.close()

    asyncio.run(scenario())
    [warning] = [event.text for event in warned if "ExplainerConfig" in event.text]
    assert warning.startswith("Endpoint e has an ExplainerConfig: ")
