"""``localmme serve --access access.yaml``: the file of the users and the roles, and what they may do.

It lists ``Users``, and may list ``Roles``; ``MINIMAL_FILE`` is an example. The keys are those of IAM's API [api];
statements and policy documents are IAM's own, which can be pasted as they are: JSON is YAML. All problems are reported
at once, each with its line, and without secrets.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from emulator.aws.service_models import Place, value_summary
from emulator.gateway.access.access_control import User
from emulator.gateway.access.iam_policy import Statement, of_document, of_statements
from emulator.gateway.access.roles import Role, TrustStatement, trust_of_document
from emulator.suggestions import did_you_mean
from emulator.yaml_source import YamlSource, as_error, read_source

KEYS = ("Users", "Roles")
USER = ("UserName", "AccessKeyId", "SecretAccessKey", "SessionToken", "Tags", "Statement", "PolicyDocument")
ROLE = ("RoleName", "AssumeRolePolicyDocument", "Path", "MaxSessionDuration", "Tags", "Statement", "PolicyDocument")
REQUIRED_OF_ROLE = ROLE[:2]
PATH = re.compile(r"/(?:[\x21-\x7e]+/)?")  # [api]
SESSION_SECONDS = range(3600, 43_200 + 1)  # [api] MaxSessionDuration
USER_NAME = re.compile(r"[\w+=,.@-]{1,64}", re.ASCII)  # [api]
ACCESS_KEY_ID = re.compile(r"\w{1,128}", re.ASCII)  # [api], where they have 16 characters at least
MINIMAL_FILE = """\
Users:
  - UserName: tenant-a
    AccessKeyId: TENANTA
    SecretAccessKey: secret-of-tenant-a
    Statement:
      - Effect: Allow
        Action: sagemaker:InvokeEndpoint
        Resource: "*"
        Condition: {StringLike: {"sagemaker:TargetModel": "tenant-a/*"}}"""


class AccessFile(NamedTuple):
    """What is in a file."""

    users: tuple[User, ...]
    roles: tuple[Role, ...]


def read(path: Path) -> AccessFile:
    """The users and roles in a file. Raises SetupError: one line ``FILE:LINE: KEY: MESSAGE`` per problem."""
    return _File(path, read_source(path, "--access takes a file of users and permissions.")).content()


class _File:
    def __init__(self, path: Path, source: YamlSource) -> None:
        self._path = path
        self._source = source
        self._problems = list(source.problems)

    def content(self) -> AccessFile:
        document = self._source.value
        users, roles = [], []
        if not isinstance(document, dict) or not isinstance(document.get("Users"), list) or not document["Users"]:
            self._report(("Users",), f"must have a user. A file needs at least:\n\n{MINIMAL_FILE}\n")
        else:
            for key in document:
                if key not in KEYS:
                    self._report((key,), f"is not a key of this file: its keys are {' and '.join(KEYS)}")
            users = [self._user(("Users", at), one) for at, one in enumerate(document["Users"])]
            roles = [self._role(("Roles", at), one) for at, one in enumerate(self._list(document, "Roles"))]
        if self._problems:
            raise as_error(self._path, self._problems)
        self._check_twice("Users", "UserName", [user.name for user in users])
        self._check_twice("Users", "AccessKeyId", [user.access_key_id for user in users])
        self._check_twice("Roles", "RoleName", [role.name for role in roles])
        return AccessFile(tuple(users), tuple(roles))

    def _list(self, document: dict[str, Any], key: str) -> list[Any]:
        value = document.get(key) or []
        if isinstance(value, list):
            return value
        self._report((key,), f"must be a list, not {value_summary(value)}")
        return []

    def _user(self, place: Place, user: Any) -> User:
        user = self._members(place, user, "a user", USER, USER[:3])
        name, key_id = self._text(user, "UserName", place), self._text(user, "AccessKeyId", place)
        self._check_name((*place, "UserName"), name)
        if key_id and not ACCESS_KEY_ID.fullmatch(key_id):
            self._report((*place, "AccessKeyId"), f"takes up to 128 letters and digits, not {value_summary(key_id)}")
        secret = self._text(user, "SecretAccessKey", place)
        token = self._text(user, "SessionToken", place) if "SessionToken" in user else None
        return User(name, key_id, secret, token, self._tags(user, place), tuple(self._statements(user, place)))

    def _role(self, place: Place, role: Any) -> Role:
        role = self._members(place, role, "a role", ROLE, REQUIRED_OF_ROLE)
        name = self._text(role, "RoleName", place)
        self._check_name((*place, "RoleName"), name)
        path = role.get("Path", "/")
        if not isinstance(path, str) or not PATH.fullmatch(path):
            self._report(
                (*place, "Path"), f"begins and ends with a slash, such as /service-role/, not {value_summary(path)}"
            )
        seconds = role.get("MaxSessionDuration", SESSION_SECONDS[0])
        if not isinstance(seconds, int) or seconds not in SESSION_SECONDS:
            words = f"takes {SESSION_SECONDS[0]} to {SESSION_SECONDS[-1]} seconds, not {value_summary(seconds)}"
            self._report((*place, "MaxSessionDuration"), words)
        trust: list[TrustStatement] = []
        where = (*place, "AssumeRolePolicyDocument")
        if "AssumeRolePolicyDocument" in role:
            trust = trust_of_document(role["AssumeRolePolicyDocument"], where, self._report)
        else:
            self._report(where, "is missing: it says who may assume the role")
        return Role(name, tuple(trust), tuple(self._statements(role, place)), path, self._tags(role, place), seconds)

    def _members(
        self, place: Place, value: Any, kind: str, members: Sequence[str], required: Sequence[str]
    ) -> dict[str, Any]:
        """The mapping there, or an empty one if it is something else; reports members that there are not."""
        if not isinstance(value, dict):
            self._report(place, f"must be {kind}, with {', '.join(required)}, not {value_summary(value)}")
            return {}
        for name in value:
            if name not in members:
                advice = did_you_mean(name, members) or f"there are {', '.join(members)}"
                self._report((*place, name), f"is not a member of {kind}: {advice}")
        return value

    def _check_name(self, place: Place, name: str) -> None:
        if name and not USER_NAME.fullmatch(name):
            self._report(place, f"takes up to 64 letters, digits and +=,.@-_, not {value_summary(name)}")

    def _text(self, user: dict[str, Any], name: str, place: Place) -> str:
        """A required string. Its value is not shown in messages, as it may be a secret."""
        value = user.get(name)
        if isinstance(value, str) and value:
            return value
        self._report((*place, name), "must be a string; put it in quotes" if value else "is missing")
        return ""

    def _tags(self, user: dict[str, Any], place: Place) -> tuple[tuple[str, str], ...]:
        """Tags from a mapping, or from IAM's list of Key and Value."""
        tags = user.get("Tags", {})
        if isinstance(tags, list) and all(isinstance(tag, dict) and {*tag} == {"Key", "Value"} for tag in tags):
            tags = {str(tag["Key"]): tag["Value"] for tag in tags}
        if not isinstance(tags, dict) or not all(isinstance(value, str) for value in tags.values()):
            self._report((*place, "Tags"), "must be a mapping of names to strings, such as {tenant: a}")
            return ()
        return tuple(tags.items())

    def _statements(self, user: dict[str, Any], place: Place) -> list[Statement]:
        """The statements of a user or a role. One without statements may do nothing, which may be intended."""
        found: list[Statement] = []
        if "Statement" in user:
            found += of_statements(user["Statement"], (*place, "Statement"), self._report)
        if "PolicyDocument" in user:
            policy, where = user["PolicyDocument"], (*place, "PolicyDocument")
            documents = [(where, policy)]
            if isinstance(policy, list):
                documents = [((*where, at), one) for at, one in enumerate(policy)]
            for at, document in documents:
                found += of_document(document, at, self._report)
        return found

    def _check_twice(self, key: str, member: str, values: list[str]) -> None:
        """Raises SetupError for the first value that is there a second time."""
        for at, value in enumerate(values):
            if value in values[:at]:
                kind, first = key.lower().removesuffix("s"), self._source.line((key, values.index(value), member))
                self._report((key, at, member), f"is already used by another {kind}, on line {first}")
                raise as_error(self._path, self._problems)

    def _report(self, place: Place, message: str) -> None:
        self._problems.append((self._source.line(place), place, message))
