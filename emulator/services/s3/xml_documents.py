"""S3's XML documents: written for responses, read from requests."""

from __future__ import annotations

import time
import urllib.parse
from xml.etree import ElementTree

from emulator.aws import xml_document
from emulator.aws.xml_document import Element
from emulator.services.s3.errors import malformed_xml

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


def document(name: str, children: list[Element]) -> bytes:
    """An XML document of this root, in S3's namespace."""
    return xml_document.document(name, children, NAMESPACE)


def url_encoded(value: str) -> str:
    """A key encoded for ``encoding-type=url``: slashes stay."""
    return urllib.parse.quote(value, safe="/-_.~*")


def xml_time(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(seconds))


def parsed(body: bytes, root: str) -> ElementTree.Element:
    """The root element of a request's document, without namespaces. Raises MalformedXML."""
    try:
        element = ElementTree.fromstring(body)
    except (ElementTree.ParseError, ValueError, LookupError):
        raise malformed_xml() from None
    for each in element.iter():
        each.tag = str(each.tag).rpartition("}")[2]
    if element.tag != root:
        raise malformed_xml()
    return element


def child_text(element: ElementTree.Element, name: str, default: str | None = None) -> str:
    """The text of a child. Raises MalformedXML when it is missing and there is no default."""
    found = element.find(name)
    if found is None:
        if default is None:
            raise malformed_xml()
        return default
    return found.text or ""
