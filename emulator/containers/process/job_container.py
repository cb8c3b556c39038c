"""The container of a job as a local process tree: any command that reads its ``/opt/ml`` elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from emulator.containers.container import LogSink
from emulator.containers.job_container import JobContainer, JobContainerSettings
from emulator.containers.process.environment import InheritedEnvironment, container_environment
from emulator.containers.process.kept_process import KeptProcess, KeptSettings

BASE_DIRECTORY = "SAGEMAKER_BASE_DIR"  # of SageMaker's toolkits: what /opt/ml is in an image


class ProcessJobContainer(JobContainer):
    """Runs ``command``. There is no ``/opt/ml`` for a process: variables name the directory that stands for it."""

    def __init__(
        self,
        command: Sequence[str],
        directory: Path,
        settings: JobContainerSettings,
        log: LogSink,
        warn: Callable[[str], None],
        *,
        inherited: InheritedEnvironment,
        stop_seconds: float,
    ) -> None:
        """``directory`` is the command's working directory; ``warn`` takes what the job's user should know."""
        super().__init__(settings)
        self._inherited = inherited
        scratch = settings.ml_directory
        kept = KeptSettings(settings.name, command, directory, scratch, settings.memory_bytes, stop_seconds)
        self._process = KeptProcess(kept, log, warn, inherited)

    async def start(self) -> None:
        settings = self.settings
        variables = directory_variables(settings.ml_directory)
        environment = container_environment(self._inherited, settings.aws, settings.environment, variables)
        await self._process.start(environment, BASE_DIRECTORY)

    async def wait(self) -> int:
        code = await self._process.exit_code()
        await self._process.finish()
        return code

    async def stop(self, seconds: float) -> None:
        await self._process.stop(seconds)


def directory_variables(ml_directory: Path) -> Mapping[str, str]:
    """The variables by which SageMaker's toolkits, and scripts that are written for them, find their directories."""
    return {
        BASE_DIRECTORY: str(ml_directory),
        "SM_MODEL_DIR": str(ml_directory / "model"),
        "SM_INPUT_DIR": str(ml_directory / "input"),
        "SM_INPUT_CONFIG_DIR": str(ml_directory / "input" / "config"),
        "SM_OUTPUT_DIR": str(ml_directory / "output"),
        "SM_OUTPUT_DATA_DIR": str(ml_directory / "output" / "data"),
        **{
            f"SM_CHANNEL_{channel.name.upper()}": str(channel)
            for channel in sorted((ml_directory / "input" / "data").glob("*"))
            if channel.is_dir()
        },
    }
