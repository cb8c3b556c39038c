"""The instance types and their sizes."""

import botocore.session
import pytest

from emulator.errors import SetupError
from emulator.hosting.instance_types import InstanceType, instance_type, instance_types
from emulator.hosting.storage_sizes import local_disk_bytes, storage_bytes
from emulator.services.sagemaker.definitions import variant_problems
from localmme import endpoint_options

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
    with pytest.raises(SetupError, match="a name looks like ml.m5.xlarge"):
        instance_type("potato")


@pytest.mark.parametrize(
    ("name", "many", "asked", "expected"),
    [
        ("ml.m5.xlarge", False, None, 30 * GIB),
        ("ml.m5.xlarge", True, None, 100 * GIB),
        ("ml.m5.xlarge", True, 7, 7 * GIB),
        (None, True, None, 100 * GIB),
        ("ml.m5d.xlarge", True, None, 150 * 10**9),
        ("ml.g5.2xlarge", False, 7, 450 * 10**9),
    ],
)
def test_the_storage_is_that_of_the_type_and_larger_for_many_models(name, many, asked, expected):
    assert storage_bytes(name, many, asked) == expected


def test_every_listed_type_of_a_family_with_disks_has_them():
    with_disks = [name for name in instance_types() if name.split(".")[1] in ("m5d", "c5d", "r5d", "g4dn", "g5")]
    assert len(with_disks) > 20 and all(local_disk_bytes(name) for name in with_disks)
    assert not local_disk_bytes("ml.m5.large") and not local_disk_bytes("")


@pytest.mark.parametrize(("name", "many", "refused"), [
    ("ml.g5.12xlarge", True, True), ("ml.g5.12xlarge", False, False), ("ml.g5.xlarge", True, False),
])  # fmt: skip
def test_many_models_take_a_type_with_one_gpu_at_most(name, many, refused):
    variant = {"VariantName": "A", "ModelName": "m", "InstanceType": name}
    reason = "ml.g5.12xlarge has 4 GPUs: multi-model endpoints run on types without GPUs, and on those with one"
    assert list(variant_problems((), variant, many)) == ([(("InstanceType",), reason)] if refused else [])


def test_the_command_line_refuses_it_too():
    with pytest.raises(SetupError, match="has 4 GPUs: .* Choose another --instance-type"):
        endpoint_options.local_instances("ml.g4dn.12xlarge", None, None)
