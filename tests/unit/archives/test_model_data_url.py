"""The spellings of S3's URLs, and which object a prefix and a TargetModel name."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from emulator.archives.errors import ArchiveNotFound
from emulator.archives.model_data_url import LocalS3, S3Url, is_url, parse_s3_url
from emulator.archives.source_selection import source_of_many
from emulator.errors import SetupError
from localmme import endpoint_options


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


@pytest.mark.parametrize(
    ("prefix", "target_model", "key"),
    [
        ("", "models/a.tar.gz", "models/a.tar.gz"),
        ("models/", "a.tar.gz", "models/a.tar.gz"),
        ("models", "/a.tar.gz", "models/a.tar.gz"),
        ("models", "-old.tar.gz", "models-old.tar.gz"),
        ("mod", "els/deep/b.tar.gz", "models/deep/b.tar.gz"),
        ("models/de", "ep/b.tar.gz", "models/deep/b.tar.gz"),
        ("models/", "deep/b.tar.gz", "models/deep/b.tar.gz"),
    ],
)
def test_a_prefix_and_a_target_model_are_put_together_as_they_are(
    tmp_path: Path, prefix: str, target_model: str, key: str
) -> None:
    """SageMaker's SDK lists target models as what is left of a key without the prefix, with a slash or without."""
    keys = ["models-old.tar.gz", "models/a.tar.gz", "models/deep/b.tar.gz", "other/c.tar.gz"]
    for each in keys:
        (tmp_path / each).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / each).write_text(each)
    bucket = source_of_many(LocalS3(tmp_path, S3Url("bucket", prefix)))
    with bucket.open(target_model) as (file, version):
        assert file.read().decode() == key
    assert bucket.version(target_model) == version
    assert {name for name, _ in bucket.archives()} == {k.replace(prefix, "", 1) for k in keys if k.startswith(prefix)}


@pytest.mark.parametrize(
    ("prefix", "target_model", "key", "told"),
    [
        ("models", "a.tar.gz", "modelsa.tar.gz", True),
        ("models/", "/a.tar.gz", "models//a.tar.gz", False),
        ("", "/models/a.tar.gz", "/models/a.tar.gz", False),
        ("models/..", "/models/a.tar.gz", "models/../models/a.tar.gz", False),
        ("models/", "b.tar.gz", "models/b.tar.gz", False),
    ],
)
def test_a_slash_that_is_missing_is_told(tmp_path: Path, prefix: str, target_model: str, key: str, told: bool) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "a.tar.gz").touch()
    bucket = source_of_many(LocalS3(tmp_path, S3Url("bucket", prefix)))
    words = re.escape(f"(bucket: bucket, key: {key})")
    with pytest.raises(ArchiveNotFound, match=words) as caught, bucket.open(target_model):
        pass
    assert ("SageMaker puts nothing between" in str(caught.value.__cause__)) == told


def test_the_command_line_takes_a_prefix_as_a_folder() -> None:
    asked: dict[str, Any] = dict.fromkeys(inspect.signature(endpoint_options.start_requests).parameters)
    asked |= {"instances": 1, "endpoint_name": "local", "storage": "1GiB", "environment": (), "cache": True}
    for url in ("s3://models/europe", "s3://models/europe/"):
        [model] = endpoint_options.start_requests(**{**asked, "models": url}).models
        assert model["PrimaryContainer"]["ModelDataUrl"] == "s3://models/europe/"


def test_what_it_looks_like_is_what_it_means() -> None:
    assert str(S3Url("models", "a/b c.tar.gz")) == "s3://models/a/b c.tar.gz"
    assert parse_s3_url(str(S3Url("models", "a%20b/"))) == S3Url("models", "a%20b/")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("s3://a", True), ("https://a", True), ("gs://a", True), ("./s3", False), ("C:/a", False), ("s3:/a", False)],
)
def test_urls_and_paths(text: str, expected: bool) -> None:
    assert is_url(text) is expected
