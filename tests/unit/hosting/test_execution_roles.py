"""The credentials of execution roles: which token gets which, and for how long."""

from __future__ import annotations

from emulator.aws.sessions import MOST_SESSIONS, Sessions
from emulator.hosting.execution_roles import ExecutionRoles

ROLE = "arn:aws:iam::123456789012:role/service-role/execution"
START = 1_000_000.0


class Clock:
    """The time, which the test sets."""

    now = START

    def __call__(self) -> float:
        return self.now


def roles(clock: Clock | None = None) -> ExecutionRoles:
    return ExecutionRoles(Sessions(clock or Clock()), "us-east-1", "http://127.0.0.1:8080")


def test_a_container_gets_a_session_of_its_own_role() -> None:
    execution_roles = roles()
    ours, other = execution_roles.aws_settings(ROLE), execution_roles.aws_settings(ROLE + "-2")
    session = execution_roles.session(ours.token)
    assert session is not None and session.role_arn == ROLE
    assert session.arn == "arn:aws:sts::123456789012:assumed-role/execution/SageMaker"
    assert session.access_key_id.startswith("ASIA") and len(session.access_key_id) == 20
    assert session.expires == START + 3600
    of_the_other = execution_roles.session(other.token)
    assert of_the_other is not None and of_the_other.role_arn == ROLE + "-2"


def test_a_model_without_a_role_has_the_default_one() -> None:
    execution_roles = roles()
    session = execution_roles.session(execution_roles.aws_settings("").token)
    assert session is not None and session.role_arn == "arn:aws:iam::123456789012:role/localmme"


def test_no_other_token_gets_any() -> None:
    execution_roles = roles()
    settings = execution_roles.aws_settings(ROLE)
    for token in ("", settings.token[:-1], settings.token + "a", settings.token.swapcase(), "\udcff"):
        assert execution_roles.session(token) is None
    execution_roles.withdraw(settings)
    assert execution_roles.session(settings.token) is None
    execution_roles.withdraw(settings)


def test_a_session_is_given_again_until_half_of_its_time_is_over() -> None:
    clock = Clock()
    execution_roles = roles(clock)
    token = execution_roles.aws_settings(ROLE).token
    first = execution_roles.session(token)
    clock.now += 1799
    assert execution_roles.session(token) is first
    clock.now += 2
    second = execution_roles.session(token)
    assert second is not first and second is not None and second.expires == clock.now + 3600


def test_the_token_is_in_no_text_that_may_be_logged() -> None:
    settings = roles().aws_settings(ROLE)
    assert settings.token not in repr(settings)
    session = Sessions(Clock()).open(ROLE, "name")
    assert session.token not in repr(session) and session.secret_access_key not in repr(session)


def test_the_variables_are_those_that_sdks_read() -> None:
    settings = roles().aws_settings(ROLE)
    assert settings.environment("http://169.254.170.2:1234") == {
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": "http://169.254.170.2:1234",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.2:1234/_localmme/credentials",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN": settings.token,
    }


def test_the_oldest_sessions_are_forgotten() -> None:
    sessions = Sessions(Clock())
    first = sessions.open(ROLE, "first")
    for _ in range(MOST_SESSIONS - 1):
        sessions.open(ROLE, "next")
    assert sessions.get(first.access_key_id) is first
    sessions.open(ROLE, "last")
    assert sessions.get(first.access_key_id) is None
