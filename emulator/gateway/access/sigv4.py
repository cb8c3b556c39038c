"""Signature Version 4: reads a request's signature, and verifies it. [iam user guide]

Only the HMAC is the standard library's: botocore's signer decides by itself which headers it signs, where a verifier
has to take those that the caller names. The tests sign with botocore.
"""

from __future__ import annotations

import calendar
import email.utils
import functools
import hashlib
import hmac
import re
import time
import urllib.parse
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from emulator.aws.decimals import decimal
from emulator.aws.request import AwsRequest, decoded
from emulator.gateway.access import denials
from emulator.services.s3.addressing import LONGEST_PRESIGNED_SECONDS

ALGORITHM = "AWS4-HMAC-SHA256"
SKEW_MINUTES = 15  # [iam user guide] some services allow 5
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
QUERY_UNRESERVED = "-_.~"
_TIME = "%Y%m%dT%H%M%SZ"
_CREDENTIAL = re.compile(r"(?P<key>[^/]+)/(?P<date>\d{8})/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request")
_PARAMETERS = ("X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature", "X-Amz-SignedHeaders", "X-Amz-Date")
# x-amz-* headers that may be added on the way, or are covered by the payload's hash anyway.
_NEED_NOT_BE_SIGNED = {"x-amz-content-sha256", "x-amz-cf-id"}


@dataclass(frozen=True)
class Claim:
    """What a request claims about its signature. Nothing of it has been verified."""

    access_key_id: str
    date: str
    region: str
    service: str
    signed_headers: tuple[str, ...]
    signature: str
    timestamp: str  # YYYYMMDDTHHMMSSZ
    token: str | None
    presigned: bool
    expires_seconds: int = 0  # of a presigned URL

    @property
    def scope(self) -> str:
        return f"{self.date}/{self.region}/{self.service}/aws4_request"


def claim(request: AwsRequest) -> Claim:
    """Raises Denial when there is no signature, or not one of version 4 that can be verified."""
    authorization = request.headers.get("authorization", "")
    if authorization:
        kind, _, rest = authorization.partition(" ")
        if kind != ALGORITHM:
            raise denials.mechanism_unsupported()
        fields = dict(_field(part) for part in rest.split(","))
        lacking = [name for name in ("Credential", "Signature", "SignedHeaders") if not fields.get(name)]
        timestamp = _timestamp(request.headers)
        if lacking or not timestamp:
            raise denials.incomplete(lacking or ["X-Amz-Date"], presigned=False)
        signed_headers, signature = fields["SignedHeaders"], fields["Signature"]
        token = request.headers.get("x-amz-security-token")
        return _claim(fields["Credential"], signed_headers, signature, timestamp, token, presigned=False)
    query = request.query
    if "X-Amz-Algorithm" in query or "X-Amz-Signature" in query:
        if query.get("X-Amz-Algorithm", ALGORITHM) != ALGORITHM:
            raise denials.mechanism_unsupported()
        lacking = [name for name in _PARAMETERS if not query.get(name)]
        if lacking or not _is_timestamp(query["X-Amz-Date"]):
            raise denials.incomplete(lacking or ["X-Amz-Date"], presigned=True)
        expires = decimal(query.get("X-Amz-Expires", str(SKEW_MINUTES * 60)))
        if expires is None or expires > LONGEST_PRESIGNED_SECONDS:
            raise denials.expires_unusable(LONGEST_PRESIGNED_SECONDS)
        headers, signature = query["X-Amz-SignedHeaders"], query["X-Amz-Signature"]
        token = query.get("X-Amz-Security-Token")
        timestamp = query["X-Amz-Date"]
        return _claim(query["X-Amz-Credential"], headers, signature, timestamp, token, True, expires)
    if "AWSAccessKeyId" in query and "Signature" in query:
        raise denials.mechanism_unsupported()
    raise denials.missing()


def _claim(
    credential: str,
    signed_headers: str,
    signature: str,
    timestamp: str,
    token: str | None,
    presigned: bool,
    expires_seconds: int = 0,
) -> Claim:
    match = _CREDENTIAL.fullmatch(credential)
    if match is None:
        raise denials.credential_malformed(presigned)
    if match["date"] != timestamp[:8]:
        raise denials.wrong_date(match["date"], timestamp[:8])
    return Claim(
        match["key"],
        match["date"],
        match["region"],
        match["service"],
        tuple(signed_headers.lower().split(";")),
        signature,
        timestamp,
        token,
        presigned,
        expires_seconds,
    )


def _field(part: str) -> tuple[str, str]:
    name, _, value = part.strip().partition("=")
    return name, value


def _timestamp(headers: Mapping[str, str]) -> str:
    given = headers.get("x-amz-date", "")
    if given:
        return given if _is_timestamp(given) else ""
    date = email.utils.parsedate_tz(headers.get("date", ""))
    return _written(email.utils.mktime_tz(date)) if date else ""


def _is_timestamp(text: str) -> bool:
    try:
        return bool(re.fullmatch(r"\d{8}T\d{6}Z", text, re.ASCII)) and _seconds(text) > 0
    except ValueError:
        return False


@functools.lru_cache(64)
def _seconds(timestamp: str) -> int:
    return calendar.timegm(time.strptime(timestamp, _TIME))


def _written(seconds: float) -> str:
    return time.strftime(_TIME, time.gmtime(seconds))


def check_time(claimed: Claim, now: float) -> None:
    """Raises Denial when a signature is too old, or is not valid yet; ``now`` in seconds since 1970."""
    signed, skew = _seconds(claimed.timestamp), SKEW_MINUTES * 60
    if signed > now + skew:
        raise denials.too_new(claimed.timestamp, _written(now + skew), _written(now), SKEW_MINUTES)
    if claimed.presigned:
        if now > signed + claimed.expires_seconds:
            raise denials.expired(_written(signed + claimed.expires_seconds), _written(now))
    elif signed < now - skew:
        raise denials.too_old(claimed.timestamp, _written(now - skew), _written(now), SKEW_MINUTES)


def check_signature(request: AwsRequest, claimed: Claim, secret: str, payload_hash: str) -> None:
    """Raises Denial when the request is not the one that was signed with this secret."""
    must = ["host"]
    must += [name for name in request.headers if name.startswith("x-amz-") and name not in _NEED_NOT_BE_SIGNED]
    unsigned = [name for name in must if name not in claimed.signed_headers]
    if unsigned:
        raise denials.header_not_signed(unsigned)
    canonical = canonical_request(request, claimed, payload_hash)
    to_sign = "\n".join((ALGORITHM, claimed.timestamp, claimed.scope, hashlib.sha256(canonical.encode()).hexdigest()))
    if not _same(_hmac(signing_key(secret, claimed.scope), to_sign).hex(), claimed.signature):
        raise denials.signature_mismatch(claimed.access_key_id, claimed.signature, canonical, to_sign)


def canonical_request(request: AwsRequest, claimed: Claim, payload_hash: str) -> str:
    """The text that is signed of a request."""
    values: dict[str, list[str]] = {name: [] for name in claimed.signed_headers}
    for raw_name, raw_value in request.raw_headers:
        name = raw_name.decode("latin-1")
        if name in values:
            values[name].append(" ".join(decoded(raw_value).split()))
    headers = "".join(f"{name}:{','.join(values[name])}\n" for name in claimed.signed_headers)
    path = _s3_path(request.raw_path) if claimed.service == "s3" else _path(request.raw_path)
    parts = (request.method, path, _query(request.pairs), headers, ";".join(claimed.signed_headers), payload_hash)
    return "\n".join(parts)


def _s3_path(raw_path: str) -> str:
    """S3's is encoded once, and not normalised: a key may be ``a//../b``."""
    parts = (urllib.parse.unquote_to_bytes(part) for part in raw_path.split("/"))
    return "/".join(urllib.parse.quote(part, safe="-_.~") for part in parts)  # a slash that was encoded stays so


@functools.lru_cache(1024)
def _path(raw_path: str) -> str:
    """Elsewhere what is sent is normalised, and encoded once more."""
    kept: list[str] = []
    for part in raw_path.split("/"):
        if part == "..":
            del kept[-1:]
        elif part not in ("", "."):
            kept.append(part)
    end = "/" if kept and raw_path.endswith("/") else ""
    return urllib.parse.quote("/" + "/".join(kept) + end, safe="/-_.~")


def _query(pairs: Iterable[tuple[str, str]]) -> str:
    encoded = sorted(
        (urllib.parse.quote(name, safe=QUERY_UNRESERVED), urllib.parse.quote(value, safe=QUERY_UNRESERVED))
        for name, value in pairs
        if name != "X-Amz-Signature"
    )
    return "&".join(f"{name}={value}" for name, value in encoded)


@functools.lru_cache(256)
def signing_key(secret: str, scope: str) -> bytes:
    """The key for one day, region and service; derived once."""
    key = b"AWS4" + secret.encode()
    for part in scope.split("/"):
        key = _hmac(key, part)
    return key


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())


class ChunkSignatures:
    """The signatures of an aws-chunked body, each of which is over the one before it. [api]"""

    def __init__(self, claimed: Claim, secret: str, has_trailer: bool) -> None:
        self.has_trailer = has_trailer
        self._key = signing_key(secret, claimed.scope)
        self._about = f"{claimed.timestamp}\n{claimed.scope}\n"
        self._previous = claimed.signature

    def is_of_chunk(self, sha256: str, signature: str) -> bool:
        """Whether this is the signature of the next chunk; ``sha256`` is that of its data, in hexadecimal digits."""
        return self._is_next(f"{ALGORITHM}-PAYLOAD\n{self._about}{self._previous}\n{EMPTY_SHA256}\n{sha256}", signature)

    def is_of_trailer(self, trailer: str, signature: str) -> bool:
        """Whether this is the signature of the trailer: its lines, ``name:value`` and a line feed each."""
        sha256 = hashlib.sha256(trailer.encode()).hexdigest()
        return self._is_next(f"{ALGORITHM}-TRAILER\n{self._about}{self._previous}\n{sha256}", signature)

    def _is_next(self, to_sign: str, signature: str) -> bool:
        expected = _hmac(self._key, to_sign).hex()
        self._previous = expected
        return _same(expected, signature)
