"""The spellings of S3's URLs."""

from __future__ import annotations

import pytest

from emulator.artifacts.model_data_url import S3Url, is_url, parse_s3_url
from emulator.errors import SetupError


@pytest.mark.parametrize(
    ("text", "bucket", "key"),
    [
        ("s3://models", "models", ""),
        ("s3://models/", "models", ""),
        ("S3://models/a", "models", "a"),
        ("s3://models/a/b.tar.gz", "models", "a/b.tar.gz"),
        ("s3://my.dotted_Bucket/a/", "my.dotted_Bucket", "a/"),
        ("s3://models//a", "models", "/a"),
        ("s3://models/50%25?versionId=#1", "models", "50%25?versionId=#1"),
        ("https://s3.amazonaws.com/models/a/", "models", "a/"),
        ("https://s3.eu-west-1.amazonaws.com/models/a/", "models", "a/"),
        ("https://s3-eu-west-1.amazonaws.com/models/a/", "models", "a/"),
        ("https://s3-us-gov-west-1.amazonaws.com/models", "models", ""),
        ("https://s3.dualstack.us-east-2.amazonaws.com/models/a", "models", "a"),
        ("https://s3.cn-north-1.amazonaws.com.cn/models/a", "models", "a"),
        ("https://models.s3.amazonaws.com/a/b", "models", "a/b"),
        ("https://models.s3.eu-west-1.amazonaws.com/a", "models", "a"),
        ("https://models.s3-eu-west-1.amazonaws.com", "models", ""),
        ("https://my.models.s3.eu-west-1.amazonaws.com/a", "my.models", "a"),
        ("https://a.s3.b.s3.eu-west-1.amazonaws.com/c", "a.s3.b", "c"),
        ("https://models.s3.amazonaws.com/one%20two%2Bthree/", "models", "one two+three/"),
    ],
)
def test_spellings(text: str, bucket: str, key: str) -> None:
    assert parse_s3_url(text) == S3Url(bucket, key)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "models",
        "s3:models",
        "s3://",
        "s3:///a",
        "s3://arn:aws:s3:eu-west-1:123456789012:accesspoint/mine",
        "s3://no bucket/a",
        "http://s3.amazonaws.com/models/a",
        "https://s3.amazonaws.com/",
        "https://s3.amazonaws.com",
        "https://example.com/models/a",
        "https://s3.amazonaws.com.example.com/models",
        "https://s3-website.eu-west-1.amazonaws.com/models",
        "https://models.s3.amazonaws.com/a?X-Amz-Signature=abc",
        "https://models.s3.amazonaws.com/a#b",
        "file:///models",
    ],
)
def test_what_is_no_url_of_s3_is_refused(text: str) -> None:
    with pytest.raises(SetupError, match="write s3://BUCKET/PREFIX|is not the name of a bucket"):
        parse_s3_url(text)


def test_a_signature_is_not_repeated() -> None:
    with pytest.raises(SetupError) as caught:
        parse_s3_url("https://models.s3.amazonaws.com/a?X-Amz-Signature=abc")
    assert "abc" not in str(caught.value)


@pytest.mark.parametrize(("key", "prefix"), [("", ""), ("a", "a/"), ("a/", "a/"), ("a/b", "a/b/")])
def test_a_prefix_ends_with_a_slash(key: str, prefix: str) -> None:
    assert S3Url("models", key).prefix == prefix


def test_what_it_looks_like_is_what_it_means() -> None:
    assert str(S3Url("models", "a/b c.tar.gz")) == "s3://models/a/b c.tar.gz"
    assert parse_s3_url(str(S3Url("models", "a%20b/"))) == S3Url("models", "a%20b/")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("s3://a", True), ("https://a", True), ("gs://a", True), ("./s3", False), ("C:/a", False), ("s3:/a", False)],
)
def test_urls_and_paths(text: str, expected: bool) -> None:
    assert is_url(text) is expected
