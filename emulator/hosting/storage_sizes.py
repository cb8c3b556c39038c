"""The size of an instance's storage volume: by its type, and by whether it hosts many models."""

from __future__ import annotations

from emulator.sizes import GIB

GB = 10**9
SINGLE_MODEL_GIB = 30  # [dg] "if the model is larger than 30 GB", the volume has to be made larger
MULTI_MODEL_GIB = 100  # [ours] [dg] says that it is larger than that for a single model
# GB of the NVMe disks of EC2's types of the same name. SageMaker attaches no volume to these. [dg]
_M5D = {
    "large": 75,
    "xlarge": 150,
    "2xlarge": 300,
    "4xlarge": 600,
    "8xlarge": 1200,
    "12xlarge": 1800,
    "16xlarge": 2400,
    "24xlarge": 3600,
}
_LOCAL_DISK_GB = {
    "m5d": _M5D,
    "r5d": _M5D,
    "c5d": {
        "large": 50,
        "xlarge": 100,
        "2xlarge": 200,
        "4xlarge": 400,
        "9xlarge": 900,
        "12xlarge": 1800,
        "18xlarge": 1800,
        "24xlarge": 3600,
    },
    "g4dn": {"xlarge": 125, "2xlarge": 225, "4xlarge": 225, "8xlarge": 900, "12xlarge": 900, "16xlarge": 900},
    "g5": {
        "xlarge": 250,
        "2xlarge": 450,
        "4xlarge": 600,
        "8xlarge": 900,
        "12xlarge": 3800,
        "16xlarge": 1900,
        "24xlarge": 3800,
        "48xlarge": 7600,
    },
}


def local_disk_bytes(instance_type: str) -> int:
    """What a type has in disks of its own; 0 = none, so that a volume is attached."""
    _, family, size = (*instance_type.split("."), "", "")[:3]
    return _LOCAL_DISK_GB.get(family, {}).get(size, 0) * GB


def storage_bytes(instance_type: str | None, multi_model: bool, volume_gib: int | None = None) -> int:
    """The bytes that there are for models. ``volume_gib`` is VolumeSizeInGB, which a type with disks does not have."""
    local = local_disk_bytes(instance_type or "")
    return local or (volume_gib or (MULTI_MODEL_GIB if multi_model else SINGLE_MODEL_GIB)) * GIB
