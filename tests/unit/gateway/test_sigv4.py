"""Signatures of version 4: those of AWS's own examples and of botocore are verified, and no others."""

from __future__ import annotations

from hashlib import sha256
from urllib.parse import quote, unquote

import botocore.auth
import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from emulator.aws.request import AwsRequest
from emulator.gateway.access.denials import Denial
from emulator.gateway.access.sigv4 import ChunkSignatures, check_signature, claim


@pytest.mark.parametrize(
    ("seed", "chunks", "trailer"),
    [
        (
            "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
            [
                "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
                "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
                "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
            ],
            "",
        ),
        (
            "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
            [
                "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
                "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
                "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
            ],
            "d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435",
        ),
    ],
)
def test_the_examples_of_s3_s_reference_are_verified(seed: str, chunks: list[str], trailer: str) -> None:
    credential = "AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request"
    headers = [
        (b"authorization", f"AWS4-HMAC-SHA256 Credential={credential},SignedHeaders=host,Signature={seed}".encode()),
        (b"x-amz-date", b"20130524T000000Z"),
    ]
    claimed = claim(
        AwsRequest({"method": "PUT", "path": "/", "raw_path": b"/", "query_string": b"", "headers": headers})
    )
    signatures = ChunkSignatures(claimed, "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", bool(trailer))
    for size, signature in zip((65536, 1024, 0), chunks):
        assert signatures.is_of_chunk(sha256(b"a" * size).hexdigest(), signature)
    if trailer:
        assert signatures.is_of_trailer("x-amz-checksum-crc32c:sOO8/Q==\n", trailer)


# What botocore signs is what is verified, whatever it is

TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=12)


@pytest.mark.parametrize("service", ["s3", "sagemaker"])
@given(
    path=st.lists(TEXTS, max_size=4),
    query=st.dictionaries(TEXTS.filter(bool), TEXTS, max_size=3),
    value=TEXTS,
    presign=st.booleans(),
)
def test_botocore_s_signatures_are_verified(
    service: str, path: list[str], query: dict[str, str], value: str, presign: bool
) -> None:
    body = b"" if presign else b"data"
    url = "http://localhost:8080/" + "/".join(quote(part, safe="") for part in path)
    url += "?" + "&".join(f"{quote(k, safe='')}={quote(v, safe='')}" for k, v in query.items()) if query else ""
    request = AWSRequest("PUT", url, headers={"Host": "localhost:8080", "X-Amzn-Any": value.strip() or "-"}, data=body)
    signers = {
        ("s3", False): S3SigV4Auth,
        ("s3", True): botocore.auth.S3SigV4QueryAuth,
        ("sagemaker", False): SigV4Auth,
        ("sagemaker", True): SigV4QueryAuth,
    }
    signers[service, presign](Credentials("KEY", "secret", "token"), service, "us-east-1").add_auth(request)
    raw_path, _, raw_query = request.url.removeprefix("http://localhost:8080").partition("?")
    scope = {
        "method": "PUT",
        "path": unquote(raw_path),
        "raw_path": raw_path.encode(),
        "query_string": raw_query.encode(),
        "headers": [(name.lower().encode(), text.encode()) for name, text in request.headers.items()],
    }
    payload = "UNSIGNED-PAYLOAD" if (service, presign) == ("s3", True) else sha256(body).hexdigest()
    received = AwsRequest(scope)
    claimed = claim(received)
    assert (claimed.access_key_id, claimed.token, claimed.presigned) == ("KEY", "token", presign)
    check_signature(received, claimed, "secret", payload)
    for secret, hashed in (("other", payload), ("secret", sha256(b"other").hexdigest())):
        with pytest.raises(Denial):
            check_signature(received, claimed, secret, hashed)
