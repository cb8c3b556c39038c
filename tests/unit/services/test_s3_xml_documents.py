"""S3's XML documents, as they are read from requests and written for answers."""

from __future__ import annotations

import pytest

from emulator.aws.errors import AwsError
from emulator.services.s3.xml_documents import NAMESPACE, child_text, document, parsed, url_encoded, xml_time


@pytest.mark.parametrize("namespace", ["", f' xmlns="{NAMESPACE}"', ' xmlns="urn:another"'])
def test_a_document_is_read_in_whatever_namespace(namespace: str) -> None:
    root = parsed(f"<Delete{namespace}><Object><Key>a &amp; b</Key><Empty/></Object></Delete>".encode(), "Delete")
    [entry] = root.findall("Object")
    assert child_text(entry, "Key") == "a & b"
    assert child_text(entry, "Empty") == ""
    assert child_text(entry, "VersionId", "none") == "none"
    with pytest.raises(AwsError, match="XML"):
        child_text(entry, "VersionId")


def test_what_is_written_can_be_read() -> None:
    written = document("Delete", [("Object", [("Key", "a\tb<c>")])])
    assert child_text(parsed(written, "Delete").find("Object"), "Key") == "a\tb<c>"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no XML",
        b"<Delete>",
        b"<Other></Other>",
        b"<Delete></Delete><Delete></Delete>",
        b"<Delete>\x00</Delete>",
        b'<?xml version="1.0" encoding="no-such"?><Delete></Delete>',
        b"<Delete>\xff</Delete>",
        b"<Delete>&unknown;</Delete>",
    ],
)
def test_what_is_not_the_document_that_was_expected_is_malformed(body: bytes) -> None:
    with pytest.raises(AwsError) as raised:
        parsed(body, "Delete")
    assert raised.value.code == "MalformedXML"


def test_a_key_is_encoded_with_its_slashes_as_they_are() -> None:
    assert url_encoded("a/b c-_.~*ä+%\n") == "a/b%20c-_.~*%C3%A4%2B%25%0A"


def test_a_time_has_the_form_that_s3_gives_it() -> None:
    assert xml_time(0) == "1970-01-01T00:00:00.000Z"
    assert xml_time(1_700_000_000) == "2023-11-14T22:13:20.000Z"
