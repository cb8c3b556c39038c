"""Jobs of the SageMaker SDK 3's ModelTrainer without an image: the drivers that it sends along run as processes.

They are programs for bash and Python, in a channel of their own, and find everything in ``/opt/ml``. In the job's copy
of them, that is replaced by the job's own directory.
"""

from __future__ import annotations

import os
import re
import shlex
import stat
from pathlib import Path

from emulator.containers.job_container import ML
from emulator.containers.launch import Command
from emulator.jobs.ml_directory import MlDirectory
from emulator.jobs.training_definition import TrainingDefinition

DRIVERS = "sm_drivers"  # the channel [run] of sagemaker-train 1.27
# A path that means the same in each place of a program.
PLAIN_PATH = re.compile(r"[A-Za-z0-9._/+-]+")
# By these names, the drivers look for Python and pip.
PYTHON, PIP = ("python3", "python"), ("pip3", "pip")
NO_PIP = 'echo "requirements are not installed here: install them where the script runs" >&2'


def is_of_model_trainer(job: TrainingDefinition) -> bool:
    """Whether the SDK has sent its drivers along."""
    return any(channel.name == DRIVERS for channel in job.channels)


def drivers_command(job: TrainingDefinition, python: Path, directory: MlDirectory) -> Command:
    """What runs the job's drivers, in which it changes the directory. Blocks.

    Raises ValueError when the drivers cannot have that directory, which is said.
    """
    root = str(directory.root)
    if not PLAIN_PATH.fullmatch(root) or not PLAIN_PATH.fullmatch(str(python)):
        raise ValueError(f"the drivers of the SDK cannot run in {root} with {python}: use paths without blanks")
    for folder, _, names in os.walk(directory.data / DRIVERS):
        for name in names:
            file = Path(folder, name)
            file.write_bytes(file.read_bytes().replace(ML.encode(), root.encode()))
    programs = directory.root / "programs"
    programs.mkdir()
    for aliases, text in ((PYTHON, f'exec {shlex.quote(str(python))} "$@"'), (PIP, NO_PIP)):
        for name in aliases:
            (programs / name).write_text(f"#!/bin/sh\n{text}\n")
            (programs / name).chmod(stat.S_IRWXU)
    words = [word.replace(ML, root) for word in (*job.entrypoint, *job.arguments)]
    return Command(["/bin/sh", "-c", 'PATH="$0:$PATH" exec "$@"', str(programs), *words], directory.root)
