"""The models of a stub, all of which are there that it has an answer for."""

from __future__ import annotations

from emulator.archives.errors import ArchiveNotFound
from emulator.aws.errors import AwsError
from emulator.containers.errors import NoAnswer
from emulator.errors import ContainerError
from emulator.hosting.single_model_container import OnlyModel, SingleModelContainer
from emulator.invocation import Invocation

BUCKET = "stub"  # [ours] in which a model would have to be that there is no answer for


class StubModels(SingleModelContainer):
    """A container that is invoked by the names of models, and loads none."""

    def _pin(self, invocation: Invocation) -> OnlyModel:
        return OnlyModel(target_model=invocation.target_model)

    def _failure(self, error: ContainerError) -> AwsError:
        return ArchiveNotFound(BUCKET, error.target_model) if isinstance(error, NoAnswer) else super()._failure(error)
