"""ARNs are in their region's partition."""

from __future__ import annotations

import pytest
from botocore.session import Session
from moto.utilities.utils import get_partition

from emulator.aws.arn import PARTITIONS, partition_of


@pytest.mark.parametrize("partition", ["aws", *PARTITIONS.values()])
def test_regions_are_in_the_partition_in_which_botocore_and_moto_have_them(partition: str) -> None:
    regions = Session().get_available_regions("sts", partition)
    assert regions
    for region in regions:
        assert (partition_of(region), get_partition(region)) == (partition, partition), region
