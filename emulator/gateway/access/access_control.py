"""Access control: who sent a request, whether the signature is theirs, and whether their policies allow it."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from emulator.aws.arn import ACCOUNT_ID, iam_arn, s3_arn
from emulator.aws.asgi import BodyBrokenOff, BodyTooLong, Receive, read_body, replayed
from emulator.aws.errors import AwsError
from emulator.aws.permissions import Context, RequiredPermission
from emulator.aws.protocols import Protocol, protocol_of
from emulator.aws.request import AwsRequest
from emulator.aws.services import MOTO_SERVICES
from emulator.aws.sessions import DEFAULT_SECONDS, Sessions
from emulator.console import permissions as console
from emulator.console.logins import Logins
from emulator.gateway.access import denials
from emulator.gateway.access.denials import Denial
from emulator.gateway.access.iam_policy import Decision, Statement, decide, of_document
from emulator.gateway.access.roles import ASSUME_ROLE, SAGEMAKER, TRUSTED_ACTIONS, Role, RoleSession
from emulator.gateway.access.sigv4 import (
    UNSIGNED_PAYLOAD,
    ChunkSignatures,
    Claim,
    check_signature,
    check_time,
    claim,
)
from emulator.services.moto_services import permissions as moto_services
from emulator.services.runtime import permissions as runtime
from emulator.services.s3 import permissions as s3
from emulator.services.s3.addressing import headers_of
from emulator.services.sagemaker import permissions as sagemaker

# What requests are signed for, where the service has another name here.
SIGNED_FOR = {"runtime": "sagemaker", **{service.api_name: name for name, service in MOTO_SERVICES.items()}}
# What their requests need to be allowed; all others are moto's. S3's are worked out of the head alone.
PERMISSIONS = {
    "runtime": runtime.required_permissions,
    "sagemaker": sagemaker.required_permissions,
    "localmme": console.required_permissions,
}
SLACK_BYTES = 64 * 1024  # [ours] of a body beyond the longest that is taken, so that it is refused as too long
STREAMED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
STREAMED_UNSIGNED = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"


@dataclass(frozen=True)
class User:
    """An IAM user with one access key. One with a session token is as if from GetSessionToken."""

    name: str
    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)
    tags: tuple[tuple[str, str], ...] = ()
    statements: tuple[Statement, ...] = ()
    region: str = "us-east-1"  # whose partition the ARN is in

    @property
    def arn(self) -> str:
        return iam_arn(self.region, "user", self.name)

    @property
    def principals(self) -> frozenset[str]:
        """By which trust policies name the user."""
        return frozenset({self.arn})

    def decide(self, ask: RequiredPermission) -> Decision:
        """What the user's policies decide."""
        return decide(self.statements, ask)

    @functools.cached_property
    def context(self) -> Context:
        """The condition keys that are about the user."""
        keys = {
            "aws:username": (self.name,),
            "aws:principalarn": (self.arn,),
            "aws:principalaccount": (ACCOUNT_ID,),
            "aws:principaltype": ("User",),
        }
        return keys | {f"aws:principaltag/{key.lower()}": (value,) for key, value in self.tags}


@dataclass(frozen=True)
class AuthorizedCaller:
    """An admitted caller, for checks that only the service can make: each key in a document, each chunk of a body."""

    user: User | RoleSession
    context: Context
    chunk_signatures: ChunkSignatures | None = None

    @property
    def name(self) -> str:
        return self.user.name

    @property
    def access_key_id(self) -> str:
        return self.user.access_key_id

    def check(self, ask: RequiredPermission) -> None:
        """Raises Denial when the user may not."""
        self.require(self.user.decide(self.in_context(ask)), ask)

    def in_context(self, ask: RequiredPermission) -> RequiredPermission:
        """With the condition keys that are about the caller."""
        return RequiredPermission(ask.action, ask.resource, {**self.context, **ask.context})

    def require(self, decision: Decision, ask: RequiredPermission) -> None:
        """Raises Denial unless the decision is to allow it."""
        if decision is not Decision.ALLOW:
            explicitly = decision is Decision.EXPLICIT_DENY
            raise denials.not_authorized(self.user.arn, ask.action, ask.resource, explicitly)

    def check_key(self, action: str, bucket: str, key: str) -> None:
        """Raises S3's AccessDenied when the user may not do this with that object."""
        try:
            self.check(RequiredPermission(action, s3_arn(self.user.region, bucket, key), {}))
        except Denial as denial:
            raise denial.error(Protocol.REST_XML) from None


class AccessControl:
    """Knows the users, and admits requests that are theirs and that they may make."""

    def __init__(
        self,
        users: Iterable[User],
        region: str,
        body_bytes: int,
        clock: Callable[[], float] = time.time,
        *,
        roles: Iterable[Role] = (),
        sessions: Sessions | None = None,
        logins: Logins | None = None,
    ) -> None:
        """``region`` is SageMaker's; ``body_bytes`` the longest body that is kept; ``clock`` in seconds since 1970.

        ``sessions`` are those of roles, whose credentials count as well; ``logins`` those of browsers.
        """
        self._logins = logins
        self._roles = {role.arn: role for role in (dataclasses.replace(role, region=region) for role in roles)}
        self._sessions = sessions or Sessions(clock)
        self._users = {user.access_key_id: dataclasses.replace(user, region=region) for user in users}
        self._region = region
        self._kept_bytes = body_bytes + SLACK_BYTES
        self._clock = clock

    async def admit(self, request: AwsRequest, receive: Receive) -> Receive:
        """The ``receive`` from which the service reads the body. Sets the request's ``caller`` and ``content``.

        A body is read as a whole and verified first, except S3's, which S3 verifies as it comes. Raises AwsError.
        """
        try:
            if request.service == "s3":
                self._admit_to_s3(request)
                return receive
            return await self._admit(request, receive)
        except Denial as denial:
            raise denial.error(protocol_of(request)) from None

    async def _admit(self, request: AwsRequest, receive: Receive) -> Receive:
        sha256 = hashlib.sha256()
        kept: bytes | BodyTooLong
        try:
            body = kept = await read_body(receive, self._kept_bytes, sha256.update)
        except BodyTooLong as too_long:
            body, kept = b"", too_long
        except BodyBrokenOff:
            raise denials.body_incomplete() from None
        if request.service == "sts" and not request.signed_for:  # as those who have no keys yet call it
            await self._required(request, body)
        if request.service == "localmme" and not request.signed_for:
            user, region = self._logged_in(request), self._region
        else:
            claimed, user = self._identified(request)
            check_signature(request, claimed, user.secret_access_key, sha256.hexdigest())
            region = claimed.region
        request.caller = caller = AuthorizedCaller(user, self._context(request, region, user))
        if isinstance(kept, BodyTooLong) and request.service != "runtime":
            raise denials.body_too_long(self._kept_bytes)
        for permission in await self._required(request, body):
            if permission.action in TRUSTED_ACTIONS:
                self._check_trust(caller, permission)
            else:
                caller.check(permission)
        if request.service == "sts" and request.content.operation == ASSUME_ROLE.partition(":")[2]:
            self._check_session(caller, request.content.parameters)
        return replayed(kept, receive)

    def may_assume(self, role_arn: str) -> bool:
        """Whether SageMaker may assume the role, as it does for a container whose execution role it is."""
        role, ask = self._roles.get(role_arn), RequiredPermission(ASSUME_ROLE, role_arn, {})
        return role is not None and role.trusts({SAGEMAKER}, ask)[0] is Decision.ALLOW

    def role_allows(self, role_arn: str, ask: RequiredPermission) -> bool:
        """Whether the policies of a role allow what SageMaker does with it."""
        role = self._roles.get(role_arn)
        return role is not None and role.allows(ask)

    def _check_trust(self, caller: AuthorizedCaller, permission: RequiredPermission) -> None:
        """Raises Denial unless the role trusts the caller, and the caller's policies allow it if they have to.

        [iam user guide] In one account, it is enough that the role's policy names the caller. One that names the
        account leaves it to the caller's policies.
        """
        ask, role = caller.in_context(permission), self._roles.get(permission.resource)
        own = caller.user.decide(ask)
        trust, by_name = (
            role.trusts(caller.user.principals, ask) if role is not None else (Decision.IMPLICIT_DENY, False)
        )
        if Decision.EXPLICIT_DENY in (own, trust):
            caller.require(Decision.EXPLICIT_DENY, permission)
        caller.require(trust if by_name or trust is not Decision.ALLOW else own, permission)

    def _check_session(self, caller: AuthorizedCaller, parameters: Mapping[str, str]) -> None:
        """Raises AwsError for a session that would last too long, or whose own policy cannot be read. [api]"""
        role, seconds = self._roles[parameters["RoleArn"]], int(parameters.get("DurationSeconds", DEFAULT_SECONDS))
        if isinstance(caller.user, RoleSession) and seconds > DEFAULT_SECONDS:
            raise denials.session_too_long("exceeds the 1 hour session limit for roles assumed by role chaining.")
        if seconds > role.longest_seconds:
            raise denials.session_too_long("exceeds the MaxSessionDuration set for this role.")
        session_policy(parameters.get("Policy", ""))

    def _caller_of(self, access_key_id: str) -> User | RoleSession | None:
        session = self._sessions.get(access_key_id)
        if session is None:
            return self._users.get(access_key_id)
        role = self._roles.get(session.role_arn)
        return RoleSession(session, role, session_policy(session.policy), self._region)

    def _admit_to_s3(self, request: AwsRequest) -> None:
        claimed, user = self._identified(request)
        payload = _payload_hash(headers_of(request), claimed)
        check_signature(request, claimed, user.secret_access_key, payload)
        signatures = None
        if payload.startswith(STREAMED):
            signatures = ChunkSignatures(claimed, user.secret_access_key, has_trailer=payload != STREAMED)
        request.caller = caller = AuthorizedCaller(user, self._context(request, claimed.region, user), signatures)
        # What cannot be seen from the request, S3 refuses in its own words.
        with contextlib.suppress(AwsError):
            for permission in s3.required_permissions(request, self._region):
                caller.check(permission)

    def _identified(self, request: AwsRequest) -> tuple[Claim, User | RoleSession]:
        claimed = claim(request)
        expected = SIGNED_FOR.get(request.service, request.service)
        if claimed.service != expected:
            raise denials.wrong_service(expected)
        # Buckets have regions of their own, and STS and IAM one for the world.
        if expected == "sagemaker" and claimed.region != self._region:
            raise denials.wrong_region(claimed.region, self._region)
        user = self._caller_of(claimed.access_key_id)
        if user is None:
            raise denials.unknown_key(claimed.access_key_id)
        if not hmac.compare_digest((claimed.token or "").encode(), (user.session_token or "").encode()):
            raise denials.wrong_token()
        self._check_expiry(user)
        check_time(claimed, self._clock())
        return claimed, user

    def _logged_in(self, request: AwsRequest) -> User | RoleSession:
        """The user for whom a browser has logged in. Raises Denial."""
        access_key_id = self._logins.access_key_id(request) if self._logins is not None else None
        user = self._caller_of(access_key_id) if access_key_id is not None else None
        if user is None:
            raise denials.not_logged_in() if "text/html" in request.header(b"accept") else denials.missing()
        self._check_expiry(user)
        return user

    def _check_expiry(self, user: User | RoleSession) -> None:
        if isinstance(user, RoleSession) and self._clock() >= user.session.expires:
            raise denials.session_expired()

    async def _required(self, request: AwsRequest, body: bytes) -> list[RequiredPermission]:
        """The permissions that the request requires. Raises AwsError when it cannot be read in exactly one way."""
        required_permissions = PERMISSIONS.get(request.service, moto_services.required_permissions)
        required = await required_permissions(request, self._region, body)
        if request.service == "sts" and request.content.operation in moto_services.GIVE_KEYS:
            raise denials.no_such_keys(request.content.operation)
        return required

    def _context(self, request: AwsRequest, region: str, user: User | RoleSession) -> Context:
        now = int(self._clock())
        return {
            **user.context,
            "aws:currenttime": (str(now),),
            "aws:epochtime": (str(now),),
            "aws:requestedregion": (region,),
            "aws:securetransport": (str(request.is_secure).lower(),),
            "aws:sourceip": (request.client,),
            "aws:useragent": (request.headers.get("user-agent", ""),),
        }


@functools.lru_cache(256)
def session_policy(text: str) -> tuple[Statement, ...] | None:
    """The statements of a session's own policy; None if it has none. Raises AwsError when it cannot be read. [api]"""
    if not text:
        return None
    problems: list[str] = []
    try:
        document = json.loads(text)
    except ValueError as error:
        document, problems = {}, [str(error)]
    statements = of_document(
        document, (), lambda place, message: problems.append(" ".join(map(str, (*place, message))))
    )
    if problems:
        raise AwsError("MalformedPolicyDocument", 400, f"The policy is not valid: {'; '.join(problems)}.")
    return tuple(statements)


def _payload_hash(headers: Mapping[str, str], claimed: Claim) -> str:
    """The hash of a body in S3's signature. Raises Denial when it is not one of S3's values."""
    given = headers.get("x-amz-content-sha256") or (UNSIGNED_PAYLOAD if claimed.presigned else None)
    if not given:
        raise denials.payload_hash_missing()
    is_sha256 = len(given) == 64 and all(letter in "0123456789abcdefABCDEF" for letter in given)
    if not is_sha256 and given not in (UNSIGNED_PAYLOAD, STREAMED_UNSIGNED, STREAMED, STREAMED + "-TRAILER"):
        raise denials.payload_hash_unusable()
    return given
