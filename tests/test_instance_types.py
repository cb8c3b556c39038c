"""The instance types and their sizes."""

import botocore.session
import pytest

from emulator.errors import SetupError
from emulator.hosting.instance_types import InstanceType, instance_type, instance_types

GIB = 1024**3


@pytest.fixture(scope="module")
def hosted():
    """The types that the SageMaker API takes for a production variant."""
    model = botocore.session.Session().get_service_model("sagemaker")
    return set(model.shape_for("ProductionVariantInstanceType").enum)


def test_every_listed_type_is_one_that_sagemaker_hosts_on(hosted):
    assert set(instance_types()) <= hosted


def test_nearly_every_type_that_sagemaker_hosts_on_is_listed(hosted):
    assert len(instance_types()) >= 0.95 * len(hosted)


@pytest.mark.parametrize(
    "expected",
    [
        InstanceType("ml.m5.xlarge", 4, 16 * GIB, 0, 0),
        InstanceType("ml.c4.large", 2, 15 * GIB // 4, 0, 0),
        InstanceType("ml.g4dn.12xlarge", 48, 192 * GIB, 4, 64 * GIB),
        InstanceType("ml.inf2.xlarge", 4, 16 * GIB, 0, 0),
        InstanceType("ml.p4d.24xlarge", 96, 1152 * GIB, 8, 320 * GIB),
    ],
    ids=lambda expected: expected.name,
)
def test_a_type_has_the_size_of_its_ec2_namesake(expected):
    assert instance_type(expected.name) == expected


def test_the_figures_are_plausible():
    for listed in instance_types().values():
        assert listed.vcpus >= 1, listed
        assert 1.5 <= listed.memory_bytes / GIB / listed.vcpus <= 32, listed
        assert (listed.gpus == 0) == (listed.gpu_memory_bytes == 0), listed
        if listed.gpus:
            assert 10 <= listed.gpu_memory_bytes / GIB / listed.gpus <= 300, listed


def test_within_a_family_memory_grows_with_the_vcpus():
    families: dict[str, list[InstanceType]] = {}
    for listed in instance_types().values():
        families.setdefault(listed.name.split(".")[1], []).append(listed)
    for family in families.values():
        by_vcpus = sorted(family, key=lambda one: (one.vcpus, one.memory_bytes))
        memory = [one.memory_bytes for one in by_vcpus]
        assert memory == sorted(memory), family
        assert family == by_vcpus, "the file lists a family from small to large"


@pytest.mark.parametrize(
    ("name", "near"),
    [("m5.xlarge", "ml.m5.xlarge"), ("ml.m5.xlrage", "ml.m5.xlarge"), ("ML.G5.2xlarge", "ml.g5.2xlarge")],
)
def test_an_unknown_type_is_refused_with_the_nearest_one(name, near):
    with pytest.raises(SetupError) as refusal:
        instance_type(name)
    message = str(refusal.value)
    assert repr(name) in message and near in message and "--memory" in message
    assert "\n" not in message


def test_a_name_near_to_nothing_is_refused_with_an_example():
    with pytest.raises(SetupError, match="named as in ml.m5.xlarge"):
        instance_type("potato")
