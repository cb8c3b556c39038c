"""What SageMaker's training toolkit tells an entry point: variables and arguments, read from the job's directory.

As in sagemaker-training 5.1: the names, the form of each value and the order of the arguments are public there.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Mapping
from typing import Any

from emulator.jobs.script_mode.entry_point import PROGRAM, SUBMIT_DIRECTORY, module_name

OF_TOOLKIT = "sagemaker_"  # what the names of the toolkit's own hyperparameters begin with
TUNING_METRIC = "_tuning_objective_metric"
# The toolkit's own hyperparameters that it reads; others with its prefix are a framework's.
READ_BY_TOOLKIT = {
    PROGRAM,
    SUBMIT_DIRECTORY,
    "sagemaker_enable_cloudwatch_metrics",
    "sagemaker_region",
    "sagemaker_container_log_level",
    "sagemaker_job_name",
    "sagemaker_s3_output",
}
DEFAULT_LOG_LEVEL = 20  # logging.INFO
DEFAULT_GROUP = "homogeneousCluster"


class ToolkitEnvironment:
    """The environment of one job's entry point."""

    def __init__(self, base: str, variables: Mapping[str, str]) -> None:
        """``base`` stands for ``/opt/ml``; ``variables`` are those of the container."""
        self.base, self._variables = base, variables
        everything = {name: _parsed(value) for name, value in self._read("hyperparameters").items()}
        self.of_toolkit = {name: everything[name] for name in everything if name.startswith(OF_TOOLKIT)}
        own = {*self.of_toolkit, TUNING_METRIC}
        self.hyperparameters = {name: everything[name] for name in everything if name not in own}
        self.entry_point = str(variables.get(PROGRAM.upper()) or self.of_toolkit.get(PROGRAM) or "")
        self._resources, self._channels = self._read("resourceconfig"), self._read("inputdataconfig")

    def arguments(self) -> list[str]:
        """The hyperparameters as command-line arguments, sorted by name."""
        words = []
        for name, value in sorted(self.hyperparameters.items()):
            words += [f"--{name}" if len(name) > 1 else f"-{name}", _argument(value)]
        return words

    def variables(self) -> dict[str, str]:
        """All variables that the toolkit adds."""
        described = self.described()
        names = "hosts network_interface_name user_entry_point resource_config input_data_config output_data_dir "
        names += "current_host current_instance_type current_instance_group current_instance_group_hosts "
        names += "instance_groups instance_groups_dict distribution_instance_groups is_hetero module_name log_level "
        names += "framework_module input_dir input_config_dir output_dir num_cpus num_gpus num_neurons model_dir "
        names += "module_dir output_intermediate_dir"
        values: dict[str, Any] = {name: described[name] for name in names.split()}
        values |= {
            "hps": self.hyperparameters,
            "framework_params": described["additional_framework_parameters"],
            "channels": sorted(self._channels),
            "training_env": described,
            "user_args": self.arguments(),
        }
        if described["topology"]:
            values["topology"] = described["topology"]
        values |= {f"channel_{name}": path for name, path in described["channel_input_dirs"].items()}
        values |= {f"hp_{name}": value for name, value in self.hyperparameters.items()}
        return {
            **{f"SM_{name.upper()}": _text(value) for name, value in values.items()},
            "CURRENT_HOST": described["current_host"],
            "SAGEMAKER_JOB_NAME": str(self.of_toolkit.get("sagemaker_job_name", "")),
            "SAGEMAKER_REGION": str(self.of_toolkit.get("sagemaker_region", self._variables.get("AWS_REGION", ""))),
        }

    def described(self) -> dict[str, Any]:
        """All that the toolkit knows of the job, the value of ``SM_TRAINING_ENV``."""
        resources = self._resources
        host, hosts = resources["current_host"], resources["hosts"]
        group = resources.get("current_group_name", DEFAULT_GROUP)
        groups = {each["instance_group_name"]: each for each in resources.get("instance_groups", ())}
        return {
            "additional_framework_parameters": {
                name: value for name, value in self.of_toolkit.items() if name not in READ_BY_TOOLKIT
            },
            "channel_input_dirs": {name: self._path("input", "data", name) for name in self._channels},
            "current_host": host,
            "current_instance_group": group,
            "current_instance_group_hosts": groups.get(group, {}).get("hosts", []),
            "current_instance_type": resources.get("current_instance_type", "local"),
            "distribution_hosts": [],
            "distribution_instance_groups": [],
            "framework_module": self._variables.get("SAGEMAKER_TRAINING_MODULE"),
            "hosts": hosts,
            "hyperparameters": self.hyperparameters,
            "input_config_dir": self._path("input", "config"),
            "input_data_config": self._channels,
            "input_dir": self._path("input"),
            "instance_groups": list(groups),
            "instance_groups_dict": groups,
            "is_hetero": len(groups) > 1,
            "is_master": host == hosts[0],
            "is_modelparallel_enabled": None,
            "is_smddpmprun_installed": False,
            "is_smddprun_installed": False,
            "job_name": self._variables.get("TRAINING_JOB_NAME"),
            "log_level": self.of_toolkit.get("sagemaker_container_log_level", DEFAULT_LOG_LEVEL),
            "master_hostname": hosts[0],
            "model_dir": self._path("model"),
            "module_dir": str(self.of_toolkit.get(SUBMIT_DIRECTORY, self._path("code"))),
            "module_name": module_name(self.entry_point),
            "network_interface_name": resources.get("network_interface_name", "eth0"),
            "num_cpus": os.cpu_count(),
            "num_gpus": number_of_gpus(),
            "num_neurons": 0,
            "output_data_dir": self._path("output", "data"),
            "output_dir": self._path("output"),
            "output_intermediate_dir": self._path("output", "intermediate"),
            "resource_config": resources,
            "topology": resources.get("topology", []),
            "user_entry_point": self.entry_point,
        }

    def _path(self, *names: str) -> str:
        return os.path.join(self.base, *names)

    def _read(self, name: str) -> dict[str, Any]:
        with open(self._path("input", "config", f"{name}.json"), encoding="utf-8") as file:
            document: dict[str, Any] = json.load(file)
        return document


def number_of_gpus() -> int:
    """The GPUs of this machine."""
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        listed = subprocess.run(["nvidia-smi", "--list-gpus"], check=True, capture_output=True, text=True).stdout
        return sum(line.startswith("GPU ") for line in listed.splitlines())
    return 0


def _parsed(value: str) -> Any:
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _argument(value: Any) -> str:
    if isinstance(value, dict):
        return ",".join(f"{key}={each}" for key, each in sorted(value.items()))
    return "" if value is None else str(value)


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, separators=(",", ":"))
