"""What an operator would try: unload, delete and reload a model, end a container, lose an instance."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from emulator.console.actions import ActionRefused, Actions, Members, text_member, unknown
from emulator.hosting.endpoint import Endpoint
from emulator.hosting.errors import NotPossible
from emulator.hosting.instance import Instance
from emulator.hosting.variant import ProductionVariant

T = TypeVar("T")


class OperatorActions:
    """The actions on what is hosted. A member that is left out means the only one there is; ``instance_id``: all."""

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        self._endpoints = endpoints

    def add_to(self, actions: Actions) -> None:
        actions.add("unload-model", self._unload_model)
        actions.add("delete-model", self._delete_model)
        actions.add("reload-model", self._reload_model)
        actions.add("restart-container", self._restart_container)
        actions.add("kill-container", self._kill_container)
        actions.add("lose-instance", self._lose_instance)

    async def _unload_model(self, members: Members) -> dict[str, Any]:
        done = self._with_model(members, Instance.unload_model)
        return {"message": f"{members['target_model']} is unloaded from {done} as soon as no call uses it."}

    async def _delete_model(self, members: Members) -> dict[str, Any]:
        done = self._with_model(members, Instance.delete_model)
        return {"message": f"{members['target_model']} is deleted from the disk of {done} as soon as no call uses it."}

    async def _reload_model(self, members: Members) -> dict[str, Any]:
        done = self._with_model(members, Instance.reload_model)
        return {"message": f"{members['target_model']} is downloaded anew at its next call on {done}."}

    async def _restart_container(self, members: Members) -> dict[str, Any]:
        done = self._with_container(members, Instance.restart_container)
        return {"message": f"{done} is stopped, and started again."}

    async def _kill_container(self, members: Members) -> dict[str, Any]:
        done = self._with_container(members, Instance.kill_container)
        return {"message": f"{done} is killed, and replaced."}

    async def _lose_instance(self, members: Members) -> dict[str, Any]:
        variant = self._variant(members)
        lost = self._instance(members, variant).instance_id
        try:
            replacement = variant.lose_instance(lost)
        except NotPossible as error:
            raise ActionRefused(str(error), 409) from None
        return {"message": f"{lost} is lost, and {replacement} takes its place.", "replaced_by": replacement}

    def _with_model(self, members: Members, act: Callable[[Instance, str], None]) -> str:
        """Do it on each instance where it can be done; which these are. Raises ActionRefused if there is none."""
        target_model = text_member(members, "target_model")
        endpoint = self._endpoint(members)
        variants = [self._variant(members)] if "variant_name" in members else endpoint.variants
        instances = [each for variant in variants for each in variant.instances]
        if "instance_id" in members:
            instances = [self._instance(members, self._variant(members))]
        done, refusals = [], []
        for instance in instances:
            try:
                act(instance, target_model)
                done.append(instance.instance_id)
            except NotPossible as error:
                refusals.append(str(error))
        if not done:
            raise ActionRefused(refusals[0] if refusals else "There is no instance.", 409)
        return ", ".join(done)

    def _with_container(self, members: Members, act: Callable[[Instance, str], None]) -> str:
        instance = self._instance(members, self._variant(members))
        name = _chosen(members, "container", {each: each for each in instance.container_names})
        try:
            act(instance, name)
        except NotPossible as error:
            raise ActionRefused(str(error), 409) from None
        return f"The container {name} of {instance.instance_id}"

    def _endpoint(self, members: Members) -> Endpoint:
        return _chosen(members, "endpoint_name", {each.definition.name: each for each in self._endpoints})

    def _variant(self, members: Members) -> ProductionVariant:
        return _chosen(members, "variant_name", {each.name: each for each in self._endpoint(members).variants})

    def _instance(self, members: Members, variant: ProductionVariant) -> Instance:
        return _chosen(members, "instance_id", {each.instance_id: each for each in variant.instances})


def _chosen(members: Members, member: str, known: Mapping[str, T]) -> T:
    """What a member names; the only one if it is left out. Raises ActionRefused."""
    if member not in members and len(known) == 1:
        return next(iter(known.values()))
    name = text_member(members, member)
    if name not in known:
        raise ActionRefused(unknown(member.removesuffix("_name").removesuffix("_id"), name, known), 404)
    return known[name]
