"""What is in use of this machine's GPUs, by NVIDIA's management library, where that and its Python package are."""

from __future__ import annotations

from typing import NamedTuple


class GpuUsage(NamedTuple):
    """Percent of all GPUs that containers may use, 100 for each, as SageMaker counts them. [dg]"""

    processors: float
    memory: float


def gpu_usage(count: int) -> GpuUsage | None:
    """Of the first ``count`` GPUs; -1 = all. None if there are none, or they cannot be read. Blocks for milliseconds.

    Other programs on these GPUs count as well: the library does not tell containers apart.
    """
    if not count:
        return None
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        try:
            there = pynvml.nvmlDeviceGetCount()
            devices = [pynvml.nvmlDeviceGetHandleByIndex(n) for n in range(there if count < 0 else min(count, there))]
            memory = [pynvml.nvmlDeviceGetMemoryInfo(device) for device in devices]
            rates = [pynvml.nvmlDeviceGetUtilizationRates(device) for device in devices]
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError:  # no driver, or a device that does not say
        return None
    if not devices:
        return None
    return GpuUsage(sum(rate.gpu for rate in rates), sum(100 * info.used / info.total for info in memory))
