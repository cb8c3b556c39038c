"""What IAM's policies say to a request: statements, wildcards, variables, conditions; and the file they stand in."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.aws.permissions import RequiredPermission
from emulator.errors import SetupError
from emulator.gateway.access import patterns
from emulator.gateway.access.iam_policy import (
    Decision,
    Statement,
    decide,
    of_document,
    of_statements,
)
from emulator.gateway.access.patterns import ArnPattern, TextPattern
from emulator.gateway.access.policy_conditions import Condition
from localmme.access_file import MINIMAL_FILE, read
from tests.support.repository import REPOSITORY

ENDPOINT = "arn:aws:sagemaker:us-east-1:123456789012:endpoint/shared"
INVOKE = "sagemaker:InvokeEndpoint"


def statements(*items: dict[str, Any]) -> list[Statement]:
    problems: list[Any] = []
    found = of_statements(list(items), (), lambda place, message: problems.append((place, message)))
    assert problems == []
    return found


def allow(**members: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": "*", "Resource": "*", **members}


def decided(*items: dict[str, Any], action: str = INVOKE, resource: str = ENDPOINT, **keys: Any) -> Decision:
    context = {key: tuple(values) if isinstance(values, list) else (values,) for key, values in keys.items()}
    return decide(statements(*items), RequiredPermission(action, resource, context))


def test_what_no_statement_allows_is_denied() -> None:
    assert decided() is Decision.IMPLICIT_DENY
    assert decided(allow(Action="s3:*")) is Decision.IMPLICIT_DENY
    assert decided(allow(Action=INVOKE)) is Decision.ALLOW


@pytest.mark.parametrize("order", [1, -1])
def test_one_deny_outweighs_every_allow(order: int) -> None:
    items = [allow(), allow(Effect="Deny", Action="sagemaker:Invoke*")][::order]
    assert decided(*items) is Decision.EXPLICIT_DENY
    assert decided(*items, action="sagemaker:ListModels") is Decision.ALLOW


@pytest.mark.parametrize(
    ("action", "asked", "fits"),
    [
        ("sagemaker:InvokeEndpoint", INVOKE, True),
        ("SageMaker:invokeendpoint", INVOKE, True),
        ("sagemaker:Invoke*", INVOKE, True),
        ("sagemaker:InvokeEndpoin?", INVOKE, True),
        ("sagemaker:Invoke", INVOKE, False),
        (["s3:*", "sagemaker:*"], INVOKE, True),
        ("sagemaker:InvokeEndpoint", "sagemaker:InvokeEndpointAsync", False),
        ("sagemaker:*", "sagemaker.evil:Invoke", False),
    ],
)
def test_actions_are_compared_without_regard_to_case(action: Any, asked: str, fits: bool) -> None:
    assert (decided(allow(Action=action), action=asked) is Decision.ALLOW) == fits


def test_not_action_and_not_resource_are_all_others() -> None:
    but_delete = {"Effect": "Allow", "NotAction": "sagemaker:Delete*", "Resource": "*"}
    assert decided(but_delete) is Decision.ALLOW
    assert decided(but_delete, action="sagemaker:DeleteModel") is Decision.IMPLICIT_DENY
    elsewhere = {"Effect": "Deny", "Action": "*", "NotResource": ENDPOINT}
    assert decided(allow(), elsewhere) is Decision.ALLOW
    assert decided(allow(), elsewhere, resource=ENDPOINT + "-2") is Decision.EXPLICIT_DENY


@pytest.mark.parametrize(
    ("pattern", "arn", "fits"),
    [
        ("*", ENDPOINT, True),
        (ENDPOINT, ENDPOINT, True),
        ("arn:aws:sagemaker:*:*:endpoint/sha*", ENDPOINT, True),
        ("arn:aws:sagemaker:*:*:endpoint/SHARED", ENDPOINT, False),
        ("arn:aws:sagemaker:*:endpoint/sha*:x", ENDPOINT, False),
        ("arn:aws:*:*:*:*", ENDPOINT, True),
        ("arn:aws:s3:::models/tenant-a/*", "arn:aws:s3:::models/tenant-a/x/y.tar.gz", True),
        ("arn:aws:s3:::models/tenant-a/*", "arn:aws:s3:::models/tenant-ab", False),
        ("arn:aws:logs:*:*:log-group:*:x", "arn:aws:logs:us-east-1:1:log-group:a:b:x", True),
    ],
)
def test_wildcards_of_an_arn_stay_in_their_part(pattern: str, arn: str, fits: bool) -> None:
    assert ArnPattern(pattern).matches(arn, {}) == fits


def of_tenant(resource: str) -> dict[str, Any]:
    return allow(Resource=f"arn:aws:s3:::models/{resource}")


def test_variables_stand_for_the_request_s_keys() -> None:
    mine = of_tenant("${aws:PrincipalTag/tenant}/*")
    key = "aws:principaltag/tenant"
    assert decided(mine, resource="arn:aws:s3:::models/a/x", **{key: "a"}) is Decision.ALLOW
    assert decided(mine, resource="arn:aws:s3:::models/b/x", **{key: "a"}) is Decision.IMPLICIT_DENY
    assert decided(mine, resource="arn:aws:s3:::models/b/x", **{key: "*"}) is Decision.IMPLICIT_DENY
    assert decided(mine, resource="arn:aws:s3:::models/*/x", **{key: "*"}) is Decision.ALLOW
    fallback = of_tenant("${aws:PrincipalTag/tenant, 'everyone'}/*")
    assert decided(fallback, resource="arn:aws:s3:::models/everyone/x") is Decision.ALLOW
    star = of_tenant("${*}")
    assert decided(star, resource="arn:aws:s3:::models/*") is Decision.ALLOW
    assert decided(star, resource="arn:aws:s3:::models/x") is Decision.IMPLICIT_DENY


def test_a_variable_without_a_value_allows_nothing() -> None:
    own = "arn:aws:s3:::models/${aws:PrincipalTag/tenant}/*"
    shared = "arn:aws:s3:::models/shared/*"
    asked = {"resource": "arn:aws:s3:::models/shared/x"}
    assert decided(allow(Resource=own), **asked) is Decision.IMPLICIT_DENY
    assert decided(allow(Resource=[own, shared]), **asked) is Decision.ALLOW
    assert decided({"Effect": "Allow", "Action": "*", "NotResource": own}, **asked) is Decision.IMPLICIT_DENY
    fence = {"Effect": "Deny", "Action": "*", "NotResource": own}
    assert decided(allow(), fence, **asked) is Decision.EXPLICIT_DENY
    unlike = {"StringNotLike": {"sagemaker:TargetModel": "${aws:PrincipalTag/tenant}/*"}}
    model = {"sagemaker:targetmodel": "b/x"}
    assert decided(allow(Condition=unlike), **model) is Decision.IMPLICIT_DENY
    assert decided(allow(), allow(Effect="Deny", Condition=unlike), **model) is Decision.EXPLICIT_DENY


def test_variables_are_text_in_documents_of_the_old_version() -> None:
    statement = allow(Resource="arn:aws:s3:::models/${aws:username}")
    for version, resource in (("2012-10-17", "me"), ("2008-10-17", "${aws:username}"), (None, "${aws:username}")):
        document = {"Statement": statement, **({"Version": version} if version else {})}
        found = of_document(document, (), lambda place, message: pytest.fail(message))
        asked = RequiredPermission("s3:GetObject", f"arn:aws:s3:::models/{resource}", {"aws:username": ("me",)})
        assert decide(found, asked) is Decision.ALLOW, version


TARGET = "sagemaker:TargetModel"


@pytest.mark.parametrize(
    ("operator", "wanted", "value", "holds"),
    [
        ("StringEquals", "a/1", "a/1", True),
        ("StringEquals", "a/*", "a/1", False),
        ("StringEquals", ["a/1", "a/2"], "a/2", True),
        ("StringEquals", "A/1", "a/1", False),
        ("StringEqualsIgnoreCase", "A/1", "a/1", True),
        ("StringNotEquals", ["a/1", "a/2"], "a/2", False),
        ("StringNotEquals", "a/1", "a/2", True),
        ("StringNotEquals", "a/1", None, True),
        ("StringNotEqualsIgnoreCase", "A/1", "a/1", False),
        ("StringLike", "a/*", "a/1", True),
        ("StringLike", "a/*", "b/a/1", False),
        ("StringLike", "a/?", "a/12", False),
        ("StringLike", "a/*", None, False),
        ("StringLikeIfExists", "a/*", None, True),
        ("StringLikeIfExists", "a/*", "b/1", False),
        ("StringNotLike", "a/*", "a/1", False),
        ("StringNotLike", "a/*", "b/1", True),
        ("StringNotLike", "a/*", None, True),
        ("Null", "true", None, True),
        ("Null", "true", "a/1", False),
        ("Null", False, "a/1", True),
        ("Bool", "true", "true", True),
        ("Bool", True, "false", False),
        ("Bool", "false", None, False),
        ("ArnLike", "arn:aws:iam::*:user/t*", "arn:aws:iam::1:user/tenant", True),
        ("ArnEquals", "arn:aws:iam::*:role/t*", "arn:aws:iam::1:user/tenant", False),
        ("ArnNotLike", "arn:aws:iam::*:role/t*", "arn:aws:iam::1:user/tenant", True),
        ("NumericLessThanEquals", 10, "10", True),
        ("NumericLessThan", "10", "10", False),
        ("NumericGreaterThan", "9.5", "10", True),
        ("NumericEquals", "1", "one", False),
        ("NumericNotEquals", "1", "2", True),
        ("DateLessThan", "2030-01-01T00:00:00Z", "1700000000", True),
        ("DateGreaterThan", "2030-01-01", "1700000000", False),
        ("IpAddress", "10.0.0.0/8", "10.1.2.3", True),
        ("IpAddress", "10.0.0.0/8", "11.1.2.3", False),
        ("NotIpAddress", "10.0.0.1", "10.0.0.1", False),
        ("ForAnyValue:StringEquals", ["a", "b"], ["b", "c"], True),
        ("ForAnyValue:StringEquals", ["a", "b"], ["c"], False),
        ("ForAnyValue:StringNotEquals", ["a"], ["a", "b"], True),
        ("ForAnyValue:StringNotEquals", ["a"], None, False),
        ("ForAllValues:StringEquals", ["a", "b"], ["a", "b"], True),
        ("ForAllValues:StringLike", ["a*"], ["a", "b"], False),
        ("ForAllValues:StringEquals", ["a"], None, True),
    ],
)
def test_condition_operators(operator: str, wanted: Any, value: Any, holds: bool) -> None:
    keys = {} if value is None else {TARGET.lower(): value}
    statement = allow(Condition={operator: {TARGET: wanted}})
    assert (decided(statement, **keys) is Decision.ALLOW) == holds


def test_all_operators_and_keys_of_a_condition_have_to_hold() -> None:
    condition = {"StringLike": {TARGET: "a/*", "aws:username": "me"}, "StringNotEquals": {TARGET: "a/secret"}}
    keys = {"sagemaker:targetmodel": "a/1", "aws:username": "me"}
    assert decided(allow(Condition=condition), **keys) is Decision.ALLOW
    for changed in ({"aws:username": "you"}, {"sagemaker:targetmodel": "a/secret"}):
        assert decided(allow(Condition=condition), **{**keys, **changed}) is Decision.IMPLICIT_DENY


@given(st.text(), st.text())
def test_a_text_without_wildcards_is_like_itself_only(one: str, other: str) -> None:
    literal = one.replace("*", "").replace("?", "").replace("$", "")
    assert TextPattern(literal).matches(literal, {})
    assert TextPattern(literal).matches(other, {}) == (other == literal)


@given(st.text(), st.text(), st.text())
def test_a_star_is_like_everything_between(start: str, between: str, end: str) -> None:
    start, end = (part.replace("*", "").replace("?", "").replace("$", "") for part in (start, end))
    assert TextPattern(f"{start}*{end}").matches(start + between + end, {})
    assert not TextPattern(f"{start}x*{end}").matches(start + "y" + between + end, {})


@given(st.text(min_size=1), st.text(min_size=1))
def test_a_variable_s_value_is_never_a_pattern(value: str, asked: str) -> None:
    assert TextPattern("${aws:username}/*").matches(asked + "/x", {"aws:username": (value,)}) == (
        (asked + "/x").startswith(value + "/")
    )


@given(st.sampled_from(["StringEquals", "StringLike", "StringEqualsIgnoreCase"]), st.text(), st.text())
def test_a_negated_operator_is_the_opposite(name: str, wanted: str, value: str) -> None:
    wanted = wanted.replace("$", "")
    opposite = name.replace("String", "StringNot")
    context = {"k": (value,)}
    assert Condition(name, "k", [wanted]).holds(context) is not Condition(opposite, "K", [wanted]).holds(context)


# The file


def user(**members: Any) -> dict[str, Any]:
    return {"UserName": "u", "AccessKeyId": "K", "SecretAccessKey": "hush-hush", **members}


def test_the_smallest_file_is_one(tmp_path: Path) -> None:
    path = tmp_path / "access.yaml"
    path.write_text(MINIMAL_FILE)
    (tenant,) = read(path).users
    assert (tenant.name, tenant.access_key_id, tenant.secret_access_key) == (
        "tenant-a",
        "TENANTA",
        "secret-of-tenant-a",
    )
    own = RequiredPermission(INVOKE, ENDPOINT, {"sagemaker:targetmodel": ("tenant-a/m.tar.gz",)})
    assert decide(tenant.statements, own) is Decision.ALLOW


def test_the_example_of_the_documentation_keeps_tenants_apart(tmp_path: Path) -> None:
    text = (REPOSITORY / "docs" / "access.md").read_text()
    path = tmp_path / "access.yaml"
    path.write_text(text.split("```yaml\n")[1].split("```")[0])
    a, b, admin = read(path).users
    for user, models in ((a, ["tenant-a"]), (b, ["tenant-b"]), (admin, ["tenant-a", "tenant-b"])):
        endpoint = ENDPOINT.replace("shared", "local")
        allowed = [
            tenant
            for tenant in ("tenant-a", "tenant-b")
            if decide(
                user.statements,
                RequiredPermission(INVOKE, endpoint, {**user.context, "sagemaker:targetmodel": (f"{tenant}/m",)}),
            )
            is Decision.ALLOW
        ]
        assert allowed == models


def test_policies_are_pasted_as_they_are(tmp_path: Path) -> None:
    document = {"Version": "2012-10-17", "Id": "p", "Statement": allow(Sid="one", Resource="arn:aws:s3:::b/*")}
    path = tmp_path / "access.json"
    tags = [{"Key": "tenant", "Value": "a"}]
    path.write_text(json.dumps({"Users": [user(PolicyDocument=[document, document], Tags=tags)]}, indent="\t"))
    (found,) = read(path).users
    assert len(found.statements) == 2
    assert found.context["aws:principaltag/tenant"] == ("a",)
    path.write_text(
        "Users:\n"
        "- {UserName: u, AccessKeyId: K, SecretAccessKey: s, PolicyDocument: {Version: 2012-10-17, Statement:\n"
        "   {Effect: Allow, Action: '*', Resource: 'arn:aws:s3:::${aws:username}'}}}"
    )
    (found,) = read(path).users
    asked = RequiredPermission("s3:ListBucket", "arn:aws:s3:::u", found.context)
    assert decide(found.statements, asked) is Decision.ALLOW


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"UserName": None}, "UserName: is missing"),
        ({"UserName": "a b"}, "UserName: takes up to 64"),
        ({"AccessKeyId": "a/b"}, "AccessKeyId: takes up to 128"),
        ({"SecretAccessKey": 12345}, "SecretAccessKey: must be a string; put it in quotes"),
        ({"SessionToken": 12345}, "SessionToken: must be a string; put it in quotes"),
        ({"SecretKey": "12345"}, "SecretKey: is not a member of a user: did you mean SecretAccessKey?"),
        ({"Tags": ["a"]}, "Tags: must be a mapping"),
        ({"Statement": "12345"}, "Statement: must be a statement"),
        ({"Statement": allow(Effect="allow")}, 'Statement.Effect: must be Allow or Deny, not "allow"'),
        ({"Statement": [allow(), {"Effect": "Deny"}]}, "Statement[1].Action: is missing: write Action or NotAction"),
        ({"Statement": allow(NotAction="*")}, "Statement.Action: and NotAction exclude each other"),
        ({"Statement": allow(Action="InvokeEndpoint")}, "Statement.Action: must be * or SERVICE:ACTION"),
        ({"Statement": allow(Action=[])}, "Statement.Action: must have at least one item"),
        ({"Statement": allow(Resource=["*", "endpoint/x"])}, "Statement.Resource[1]: must be * or an ARN"),
        ({"Statement": allow(Principal="*")}, "Statement.Principal: is for resource-based policies"),
        ({"Statement": allow(Conditions={})}, "Statement.Conditions: is not a member of a statement: did you mean"),
        ({"Statement": allow(Condition=["x"])}, "Statement.Condition: must be a mapping of operators"),
        ({"Statement": allow(Condition={"StringLik": {TARGET: "a"}})}, "did you mean StringLike"),
        ({"Statement": allow(Condition={"Every:StringLike": {TARGET: "a"}})}, "is not a condition operator"),
        ({"Statement": allow(Condition={"StringLike": "a/*"})}, "must be a mapping of condition keys"),
        ({"Statement": allow(Condition={"Bool": {"aws:SecureTransport": "yes"}})}, "must be true or false"),
        ({"Statement": allow(Condition={"NumericEquals": {"s3:max-keys": "ten"}})}, "must be a number"),
        ({"Statement": allow(Condition={"DateLessThan": {"aws:CurrentTime": "soon"}})}, "must be a time like"),
        ({"Statement": allow(Condition={"IpAddress": {"aws:SourceIp": "home"}})}, "must be an address"),
        ({"PolicyDocument": {"Version": "2013"}}, 'PolicyDocument.Version: must be "2012-10-17"'),
        ({"PolicyDocument": {"Statements": []}}, "PolicyDocument.Statement: is missing"),
        ({"PolicyDocument": "12345"}, "PolicyDocument: must be a policy document"),
    ],
)
def test_problems_of_the_file_are_told_with_their_place_and_without_a_secret(
    tmp_path: Path, changes: dict[str, Any], told: str
) -> None:
    path = tmp_path / "access.yaml"
    path.write_text(json.dumps({"Users": [{k: v for k, v in user(**changes).items() if v is not None}]}, indent=1))
    with pytest.raises(SetupError) as caught:
        read(path)
    assert f"{path}:" in str(caught.value)
    assert told in str(caught.value)
    assert "hush-hush" not in str(caught.value)
    if "SecretAccessKey" in changes or "SessionToken" in changes:
        assert "12345" not in str(caught.value)


def test_all_problems_are_told_at_once_each_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "access.yaml"
    path.write_text("Users:\n- UserName: u\n  AccessKeyId: K\n  Statement: []\n- Oops: 1\nMore: 2\n")
    with pytest.raises(SetupError) as caught:
        read(path)
    lines = [line.removeprefix(f"{path}:").split(":")[0] for line in str(caught.value).splitlines()]
    assert lines == sorted(lines) and {"2", "5", "6"} <= set(lines), str(caught.value)


@pytest.mark.parametrize("member", ["UserName", "AccessKeyId"])
def test_two_users_are_told_apart(tmp_path: Path, member: str) -> None:
    path = tmp_path / "access.yaml"
    other = {"UserName": "v", "AccessKeyId": "L", member: user()[member]}
    path.write_text(json.dumps({"Users": [user(), user(**other)]}))
    with pytest.raises(SetupError, match=f"{member}: is already used by another user"):
        read(path)


@pytest.mark.parametrize(
    ("content", "told"),
    [(None, "There is no file"), ("", "must have a user"), ("Users: {", "access.yaml:1:"), (b"\xff\xfe", "not UTF-8")],
)
def test_a_file_that_is_none(tmp_path: Path, content: str | bytes | None, told: str) -> None:
    path = tmp_path / "access.yaml"
    if content is not None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(SetupError, match=told):
        read(path)


def test_a_user_shows_no_secret(tmp_path: Path) -> None:
    path = tmp_path / "access.yaml"
    path.write_text(json.dumps({"Users": [user(SessionToken="tok-tok")]}))
    assert "hush" not in repr(read(path)) and "tok-tok" not in repr(read(path))


# Wildcards

PATTERNS = st.text("ab*?.", max_size=9)


@settings(max_examples=150)
@given(pattern=PATTERNS, variable=st.text("a*?b", max_size=3), value=st.text("ab.*", max_size=12), fold=st.booleans())
def test_wildcards_are_those_of_a_regular_expression(pattern: str, variable: str, value: str, fold: bool) -> None:
    likes = {"*": ".*", "?": "."}
    literal, flags = re.escape(variable), re.IGNORECASE if fold else 0
    expression = "".join(likes.get(letter) or re.escape(letter) for letter in pattern)
    for text, wanted in ((pattern, expression), (f"{pattern}${{k}}{pattern}", expression + literal + expression)):
        found = TextPattern(text, ignore_case=fold).matches(value.upper() if fold else value, {"k": (variable,)})
        assert found == (re.fullmatch(wanted, value, flags) is not None)


def test_many_wildcards_and_a_long_name_take_no_more_steps_than_that(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = 0
    find = patterns._find

    def counted(*arguments: Any) -> int:
        nonlocal steps
        steps += 1
        return find(*arguments)

    monkeypatch.setattr(patterns, "_find", counted)
    assert not TextPattern("*/*/*/*/*/*x").matches("/" * 1000, {})
    assert TextPattern("*/*/*/*/*/*").matches("/" * 1000, {})
    assert steps <= 10
