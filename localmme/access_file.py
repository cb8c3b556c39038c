"""``localmme serve --access access.yaml``: the file of the users, their keys, and what they may do.

It lists ``Users``; ``MINIMAL_FILE`` is an example. The keys are those of IAM's API [api]; statements and policy
documents are IAM's own, which can be pasted as they are: JSON is YAML. All problems are reported at once, each with
its line, and without secrets.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from emulator.aws.service_models import Place, value_summary
from emulator.gateway.access.access_control import User
from emulator.gateway.access.iam_policy import Statement, of_document, of_statements
from emulator.suggestions import did_you_mean
from localmme.yaml_source import YamlSource, as_error, read_source

MEMBERS = ("UserName", "AccessKeyId", "SecretAccessKey", "SessionToken", "Tags", "Statement", "PolicyDocument")
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


def read(path: Path) -> tuple[User, ...]:
    """The users in a file. Raises SetupError: one line ``FILE:LINE: KEY: MESSAGE`` per problem."""
    return _File(path, read_source(path, "--access takes a file of users and permissions.")).users()


class _File:
    def __init__(self, path: Path, source: YamlSource) -> None:
        self._path = path
        self._source = source
        self._problems = list(source.problems)

    def users(self) -> tuple[User, ...]:
        document = self._source.value
        users = []
        if not isinstance(document, dict) or not isinstance(document.get("Users"), list) or not document["Users"]:
            self._report(("Users",), f"must have a user. A file needs at least:\n\n{MINIMAL_FILE}\n")
        else:
            for key in document:
                if key != "Users":
                    self._report((key,), "is not a key of this file: its only key is Users")
            users = [self._user(("Users", at), one) for at, one in enumerate(document["Users"])]
        if self._problems:
            raise as_error(self._path, self._problems)
        self._check_twice(users)
        return tuple(users)

    def _user(self, place: Place, user: Any) -> User:
        if not isinstance(user, dict):
            self._report(place, f"must be a user, with {', '.join(MEMBERS[:3])}, not {value_summary(user)}")
            user = {}
        for name in user:
            if name not in MEMBERS:
                advice = did_you_mean(name, MEMBERS) or f"there are {', '.join(MEMBERS)}"
                self._report((*place, name), f"is not a member of a user: {advice}")
        name, key_id = self._text(user, "UserName", place), self._text(user, "AccessKeyId", place)
        if name and not USER_NAME.fullmatch(name):
            self._report((*place, "UserName"), f"takes up to 64 letters, digits and +=,.@-_, not {value_summary(name)}")
        if key_id and not ACCESS_KEY_ID.fullmatch(key_id):
            self._report((*place, "AccessKeyId"), f"takes up to 128 letters and digits, not {value_summary(key_id)}")
        secret = self._text(user, "SecretAccessKey", place)
        token = self._text(user, "SessionToken", place) if "SessionToken" in user else None
        return User(name, key_id, secret, token, self._tags(user, place), tuple(self._statements(user, place)))

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
        """A user's statements. A user without statements may do nothing, which may be intended."""
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

    def _check_twice(self, users: list[User]) -> None:
        for member, values in (
            ("UserName", [user.name for user in users]),
            ("AccessKeyId", [user.access_key_id for user in users]),
        ):
            for at, value in enumerate(values):
                if value in values[:at]:
                    first = self._source.line(("Users", values.index(value), member))
                    self._report(("Users", at, member), f"is already used by another user, on line {first}")
                    raise as_error(self._path, self._problems)

    def _report(self, place: Place, message: str) -> None:
        self._problems.append((self._source.line(place), place, message))
