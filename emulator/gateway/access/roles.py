"""IAM roles: who may assume them, by their trust policies, and the sessions of them as callers. [iam user guide]"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from typing import Any

from emulator.aws.arn import ACCOUNT_ID, iam_arn, partition_of
from emulator.aws.permissions import Context, RequiredPermission
from emulator.aws.service_models import Place, value_summary
from emulator.aws.sessions import DEFAULT_SECONDS, Session
from emulator.gateway.access.iam_policy import Decision, Report, Statement, decide, of_statements

ASSUME_ROLE, TAG_SESSION = "sts:AssumeRole", "sts:TagSession"
TRUSTED_ACTIONS = {ASSUME_ROLE, TAG_SESSION}  # those for which a role's trust policy counts
SAGEMAKER = "sagemaker.amazonaws.com"  # the service that assumes execution roles
PRINCIPAL_KINDS = ("AWS", "Service")
ANYBODY = "*"


@dataclass(frozen=True)
class TrustStatement:
    """One statement of a trust policy."""

    statement: Statement
    principals: frozenset[str]  # ARNs, account ids, names of services, or * for anybody


@dataclass(frozen=True)
class Role:
    """An IAM role."""

    name: str
    trust: tuple[TrustStatement, ...] = ()
    statements: tuple[Statement, ...] = ()
    path: str = "/"
    tags: tuple[tuple[str, str], ...] = ()
    longest_seconds: int = DEFAULT_SECONDS  # MaxSessionDuration
    region: str = "us-east-1"  # whose partition the ARN is in

    @property
    def arn(self) -> str:
        return iam_arn(self.region, f"role{self.path}".rstrip("/"), self.name)

    def trusts(self, principals: Set[str], ask: RequiredPermission) -> tuple[Decision, bool]:
        """What the trust policy decides, and whether it names the caller itself: then the caller's policies need not.

        ``principals`` are all by which it may be named.
        """
        by_name = self._decide({*principals, ANYBODY}, ask)
        if by_name is not Decision.IMPLICIT_DENY:
            return by_name, True
        is_service = SAGEMAKER in principals  # which is in no account
        return (by_name if is_service else self._decide(self._account, ask)), False

    def allows(self, ask: RequiredPermission) -> bool:
        """Whether its policies allow something to who has assumed it."""
        context = {**_context(self.arn, self.tags), **ask.context}
        return decide(self.statements, RequiredPermission(ask.action, ask.resource, context)) is Decision.ALLOW

    def _decide(self, principals: Set[str], ask: RequiredPermission) -> Decision:
        return decide((each.statement for each in self.trust if each.principals & principals), ask)

    @property
    def _account(self) -> Set[str]:
        return {ACCOUNT_ID, f"arn:{partition_of(self.region)}:iam::{ACCOUNT_ID}:root"}


@dataclass(frozen=True)
class RoleSession:
    """A caller with the credentials of a session of a role. The session of a role that is unknown may do nothing."""

    session: Session
    role: Role | None
    limits: tuple[Statement, ...] | None  # the session's own policy, which has to allow a request as well
    region: str

    @property
    def name(self) -> str:
        return self.session.name

    @property
    def access_key_id(self) -> str:
        return self.session.access_key_id

    @property
    def secret_access_key(self) -> str:
        return self.session.secret_access_key

    @property
    def session_token(self) -> str | None:
        return self.session.token

    @property
    def arn(self) -> str:
        return self.session.arn

    @property
    def principals(self) -> frozenset[str]:
        """By which trust policies name it."""
        return frozenset({self.session.arn, self.session.role_arn})

    @functools.cached_property
    def context(self) -> Context:
        """The condition keys that are about the session. Its own tags outweigh the role's of the same names."""
        keys = {
            "aws:userid": (self.session.user_id,),
            "aws:tokenissuetime": (str(int(self.session.issued)),),
        }
        tags = (*(self.role.tags if self.role is not None else ()), *self.session.tags)
        return keys | _context(self.session.role_arn, tags)

    def decide(self, ask: RequiredPermission) -> Decision:
        """What its policies decide."""
        decision = decide(self.role.statements if self.role is not None else (), ask)
        if self.limits is None or decision is Decision.EXPLICIT_DENY:
            return decision
        limit = decide(self.limits, ask)
        return limit if limit is not Decision.ALLOW else decision


def _context(role_arn: str, tags: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    """The condition keys that are about who has assumed a role."""
    keys: dict[str, tuple[str, ...]] = {
        "aws:principalarn": (role_arn,),
        "aws:principalaccount": (ACCOUNT_ID,),
        "aws:principaltype": ("AssumedRole",),
    }
    return keys | {f"aws:principaltag/{key.lower()}": (value,) for key, value in tags}


# From what JSON or YAML has. What is wrong is reported with its place, and left out.


def trust_of_document(document: Any, place: Place, report: Report) -> list[TrustStatement]:
    """The statements of an AssumeRolePolicyDocument."""
    if not isinstance(document, dict) or "Statement" not in document:
        report(place, f"must be a policy document, whose Statement has a Principal, not {value_summary(document)}")
        return []
    given = document["Statement"]
    items = given if isinstance(given, list) else [given]
    found: list[TrustStatement] = []
    for at, item in enumerate(items):
        where = (*place, "Statement", at) if isinstance(given, list) else (*place, "Statement")
        if not isinstance(item, dict):
            report(where, f"must be a statement, with Effect, Principal and Action, not {value_summary(item)}")
            continue
        principals = frozenset(_principals(item.get("Principal"), (*where, "Principal"), report))
        if "Resource" in item:
            report((*where, "Resource"), "is the role itself in a trust policy: leave it out")
        about = {name: value for name, value in item.items() if name not in ("Principal", "Resource")}
        found += [TrustStatement(each, principals) for each in of_statements({**about, "Resource": "*"}, where, report)]
    return found


def _principals(value: Any, place: Place, report: Report) -> Iterable[str]:
    if value == ANYBODY:
        return [ANYBODY]
    if not isinstance(value, Mapping) or not value:
        example = f'{{"AWS": ARN}} or {{"Service": "{SAGEMAKER}"}}'
        report(place, f"must be a mapping such as {example}, not {value_summary(value)}" if value else "is missing")
        return []
    found = []
    for kind, given in value.items():
        names = given if isinstance(given, list) else [given]
        if kind not in PRINCIPAL_KINDS:
            report((*place, kind), f"is not emulated as a principal: there are {' and '.join(PRINCIPAL_KINDS)}")
        elif not names or not all(isinstance(name, (str, int)) for name in names):
            report((*place, kind), f"must be a string or a list of strings, not {value_summary(given)}")
        else:
            found += [str(name) for name in names]
    return found
