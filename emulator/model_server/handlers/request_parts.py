"""Splits a request into the parts that Multi Model Server passes to a handler, by name, as undecoded bytes."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import parse_qsl

Headers = list[tuple[str, str]]


class _Part(NamedTuple):
    name: str
    value: bytearray
    content_type: str


def split(body: bytearray, query: str, headers: Headers) -> tuple[dict[str, bytearray], dict[str, dict[str, str]]]:
    """The parts by name, and each part's content type in the form that ``Context`` needs.

    The parts are the query's parameters, then ``body`` or the fields of a form. No part is decoded, not even text or
    JSON: SageMaker's inference toolkit configures Multi Model Server so.
    """
    content_type = next((value for name, value in headers if name.lower() == "content-type"), "")
    mime_type = content_type.partition(";")[0].strip()
    parts = _parameters(query)
    if mime_type.lower() == "application/x-www-form-urlencoded":
        parts += _parameters(body.decode("utf-8", "surrogateescape"))
    elif mime_type.lower() == "multipart/form-data":
        parts += _form(body, content_type)
    else:
        parts.append(_Part("body", body, mime_type))
    return {part.name: part.value for part in parts}, {part.name: {"content-type": part.content_type} for part in parts}


def _parameters(text: str) -> list[_Part]:
    fields = parse_qsl(text, keep_blank_values=True)
    return [_Part(name, bytearray(value.encode("utf-8", "surrogateescape")), "") for name, value in fields]


def _form(body: bytearray, content_type: str) -> list[_Part]:
    from email.parser import BytesParser  # only forms need these
    from email.utils import collapse_rfc2231_value

    form = BytesParser().parsebytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body)
    parts = []
    for part in form.walk():
        name = part.get_param("name", None, header="content-disposition")
        if name is not None:
            value = part.get_payload(decode=True)
            kind = part.get_content_type() if "content-type" in part else ""
            parts.append(
                _Part(collapse_rfc2231_value(name), bytearray(value if isinstance(value, bytes) else b""), kind)
            )
    return parts
