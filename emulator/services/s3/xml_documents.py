"""S3's XML documents: written for responses and errors, read from requests."""

from __future__ import annotations

import re
import time
import urllib.parse
from collections.abc import Iterator
from html import escape
from typing import Union
from xml.etree import ElementTree

from emulator.services.s3.errors import S3Error, malformed_xml

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
# What XML 1.0 cannot hold. S3 sends it as a character reference; callers who mind ask for encoding-type=url.
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\ufffe\uffff]")

Element = tuple[str, Union[str, int, bool, "list[Element]"]]


def document(name: str, children: list[Element], namespace: str = NAMESPACE) -> bytes:
    """An XML document of this root."""
    opened = f'<{name} xmlns="{namespace}">' if namespace else f"<{name}>"
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{opened}{"".join(_written(children))}</{name}>'.encode(
        "utf-8", "replace"
    )


def error(error: S3Error, resource: str, request_id: str, host_id: str) -> bytes:
    """The body of an error."""
    children: list[Element] = [("Code", error.code), ("Message", error.message), *error.fields.items()]
    children += [("Resource", resource), ("RequestId", request_id), ("HostId", host_id)]
    return document("Error", children, namespace="")


def _written(children: list[Element]) -> Iterator[str]:
    for name, value in children:
        if isinstance(value, list):
            yield f"<{name}>{''.join(_written(value))}</{name}>"
        elif isinstance(value, bool):
            yield f"<{name}>{str(value).lower()}</{name}>"
        else:
            yield f"<{name}>{text(str(value))}</{name}>"


def text(value: str) -> str:
    return CONTROL.sub(lambda match: f"&#x{ord(match[0]):X};", escape(value, quote=False).replace('"', "&quot;"))


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
