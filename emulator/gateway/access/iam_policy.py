"""IAM's identity-based policies: statements, and what they decide about one request. [iam user guide]"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from emulator.aws.permissions import RequiredPermission
from emulator.aws.service_models import Place, value_summary
from emulator.gateway.access.patterns import ArnPattern, TextPattern, Unresolved, matches_any
from emulator.gateway.access.policy_conditions import NAMES, Condition
from emulator.suggestions import did_you_mean

VERSION = "2012-10-17"  # the one that has policy variables
VERSIONS = (VERSION, "2008-10-17")
MEMBERS = ("Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition")

Report = Callable[[Place, str], None]


class Decision(enum.Enum):
    """What policies decide about a request. Without a statement about it, it is denied implicitly."""

    ALLOW = enum.auto()
    EXPLICIT_DENY = enum.auto()
    IMPLICIT_DENY = enum.auto()


@dataclass(frozen=True)
class Statement:
    """One statement of a policy."""

    allows: bool
    actions: tuple[TextPattern, ...]
    resources: tuple[ArnPattern, ...]
    conditions: tuple[Condition, ...] = ()
    all_other_actions: bool = False  # NotAction
    all_other_resources: bool = False  # NotResource

    def covers(self, ask: RequiredPermission) -> bool:
        """Whether the statement is about this. If a variable has no value, so that it is unknown, it allows nothing."""
        context = ask.context
        try:
            return (
                matches_any((each.matches for each in self.actions), ask.action, context, self.all_other_actions)
                and all(each.holds(context) for each in self.conditions)
                and matches_any(
                    (each.matches for each in self.resources), ask.resource, context, self.all_other_resources
                )
            )
        except Unresolved:
            return not self.allows


def decide(statements: Iterable[Statement], ask: RequiredPermission) -> Decision:
    """One statement that denies outweighs all that allow."""
    decision = Decision.IMPLICIT_DENY
    for statement in statements:
        if statement.covers(ask):
            if not statement.allows:
                return Decision.EXPLICIT_DENY
            decision = Decision.ALLOW
    return decision


# From what JSON or YAML has. What is wrong is reported with its place, and left out.


def of_document(document: Any, place: Place, report: Report) -> list[Statement]:
    """The statements of a policy document."""
    if not isinstance(document, dict):
        report(place, f"must be a policy document, with Version and Statement, not {value_summary(document)}")
        return []
    for name in document:
        if name not in ("Version", "Id", "Statement"):
            advice = did_you_mean(name, ("Version", "Statement"))
            report((*place, name), "is not a member of a policy document" + (advice and f": {advice}"))
    version = document.get("Version", VERSIONS[1])
    if str(version) not in VERSIONS:
        report((*place, "Version"), f'must be "{VERSION}", not {value_summary(version)}')
    if "Statement" not in document:
        report((*place, "Statement"), "is missing")
        return []
    return of_statements(document["Statement"], (*place, "Statement"), report, variables=str(version) == VERSION)


def of_statements(value: Any, place: Place, report: Report, *, variables: bool = True) -> list[Statement]:
    """One statement or a list of them. ``variables``: whether ``${aws:username}`` stands for something."""
    found = []
    items = [(place, value)] if not isinstance(value, list) else [((*place, at), one) for at, one in enumerate(value)]
    for where, item in items:
        if not isinstance(item, dict):
            report(where, f"must be a statement, with Effect, Action and Resource, not {value_summary(item)}")
            continue
        wrong: list[Place] = []

        def noted(at: Place, message: str, wrong: list[Place] = wrong) -> None:
            wrong.append(at)
            report(at, message)

        statement = _statement(item, where, noted, variables)
        if not wrong:
            found.append(statement)
    return found


def _statement(item: dict[str, Any], place: Place, report: Report, variables: bool) -> Statement:
    for name in item:
        if name in ("Principal", "NotPrincipal"):
            report((*place, name), "is for resource-based policies, and this policy belongs to a user: leave it out")
        elif name not in MEMBERS:
            advice = did_you_mean(name, MEMBERS)
            report((*place, name), "is not a member of a statement" + (advice and f": {advice}"))
    effect = item.get("Effect")
    if effect not in ("Allow", "Deny"):
        report((*place, "Effect"), f"must be Allow or Deny, not {value_summary(effect)}" if effect else "is missing")
    actions, other_actions = _one_of(item, "Action", place, report)
    resources, other_resources = _one_of(item, "Resource", place, report)
    return Statement(
        effect == "Allow",
        tuple(_actions(actions, place, report)),
        tuple(_resources(resources, place, report, variables)),
        tuple(_conditions(item.get("Condition", {}), (*place, "Condition"), report, variables)),
        other_actions,
        other_resources,
    )


def _one_of(item: dict[str, Any], name: str, place: Place, report: Report) -> tuple[list[tuple[Place, str]], bool]:
    """The strings of a member or of its opposite, with their places, and whether it is the opposite."""
    given = [one for one in (name, "Not" + name) if one in item]
    if len(given) != 1:
        report(
            (*place, name), f"and Not{name} exclude each other" if given else f"is missing: write {name} or Not{name}"
        )
        return [], False
    return _strings(item[given[0]], (*place, given[0]), report), given[0] != name


def _strings(value: Any, place: Place, report: Report) -> list[tuple[Place, str]]:
    items = [((*place, at), one) for at, one in enumerate(value)] if isinstance(value, list) else [(place, value)]
    if not items:
        report(place, "must have at least one item")
    found = []
    for where, item in items:
        if isinstance(item, bool):
            found.append((where, str(item).lower()))
        elif isinstance(item, (str, int, float)):
            found.append((where, str(item)))
        else:
            report(where, f"must be a string, not {value_summary(item)}")
    return found


def _actions(values: list[tuple[Place, str]], place: Place, report: Report) -> Iterable[TextPattern]:
    for where, value in values:
        if value != "*" and not all(value.partition(":")):
            report(where, f"must be * or SERVICE:ACTION, such as sagemaker:InvokeEndpoint, not {value_summary(value)}")
        yield TextPattern(value, variables=False, ignore_case=True)


def _resources(values: list[tuple[Place, str]], place: Place, report: Report, variables: bool) -> Iterable[ArnPattern]:
    for where, value in values:
        try:
            yield ArnPattern(value, variables=variables)
        except ValueError as error:
            report(where, str(error))


def _conditions(value: Any, place: Place, report: Report, variables: bool) -> Iterable[Condition]:
    if not isinstance(value, dict):
        report(place, f"must be a mapping of operators, not {value_summary(value)}")
        return
    for name, keys in value.items():
        if not isinstance(keys, dict):
            report((*place, name), f"must be a mapping of condition keys, not {value_summary(keys)}")
            continue
        for key, wanted in keys.items():
            where = (*place, name, key)
            try:
                yield Condition(name, key, [text for _, text in _strings(wanted, where, report)], variables=variables)
            except KeyError:
                advice = did_you_mean(name.rpartition(":")[2].removesuffix("IfExists"), NAMES)
                report((*place, name), "is not a condition operator" + (advice and f": {advice}"))
                break
            except ValueError as error:
                report(where, str(error))
