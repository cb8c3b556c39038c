"""What is in use of GPUs, by a stand-in for NVIDIA's management library: there need not be any here."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace

import pytest

from emulator.containers.gpu_usage import gpu_usage

DEVICES = [(80, 4, 16), (20, 1, 4), (100, 8, 8)]  # percent, and memory used and there


class NVMLError(Exception):
    pass


class Library(ModuleType):
    """NVML with these devices, and what was done with it."""

    NVMLError = NVMLError

    def __init__(self, fails: str = "") -> None:
        super().__init__("pynvml")
        self.calls: list[str] = []
        for name, answer in {
            "nvmlInit": lambda: None,
            "nvmlShutdown": lambda: None,
            "nvmlDeviceGetCount": lambda: len(DEVICES),
            "nvmlDeviceGetHandleByIndex": lambda n: n,
            "nvmlDeviceGetUtilizationRates": lambda n: SimpleNamespace(gpu=DEVICES[n][0]),
            "nvmlDeviceGetMemoryInfo": lambda n: SimpleNamespace(used=DEVICES[n][1], total=DEVICES[n][2]),
        }.items():
            setattr(self, name, self._noted(name, answer, name == fails))

    def _noted(self, name: str, answer: Callable[..., object], fails: bool) -> Callable[..., object]:
        def call(*arguments: object) -> object:
            self.calls.append(name)
            if fails:
                raise NVMLError(name)
            return answer(*arguments)

        return call


@pytest.mark.parametrize(("count", "expected"), [(-1, (200, 150)), (1, (80, 25)), (2, (100, 50)), (9, (200, 150))])
def test_all_gpus_of_the_containers_count(
    monkeypatch: pytest.MonkeyPatch, count: int, expected: tuple[float, float]
) -> None:
    library = Library()
    monkeypatch.setitem(sys.modules, "pynvml", library)
    assert gpu_usage(count) == expected
    assert (library.calls[0], library.calls[-1]) == ("nvmlInit", "nvmlShutdown")


@pytest.mark.parametrize("fails", ["nvmlInit", "nvmlDeviceGetCount", "nvmlDeviceGetUtilizationRates"])
def test_without_a_driver_nothing_is_shown(monkeypatch: pytest.MonkeyPatch, fails: str) -> None:
    library = Library(fails)
    monkeypatch.setitem(sys.modules, "pynvml", library)
    assert gpu_usage(-1) is None
    assert library.calls.count("nvmlShutdown") == (fails != "nvmlInit"), "what was opened is closed"


def test_without_the_library_or_gpus_nothing_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert gpu_usage(-1) is None
    assert gpu_usage(0) is None
