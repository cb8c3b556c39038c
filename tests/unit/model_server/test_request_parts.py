"""The parts of a request that a handler gets, by name."""

from __future__ import annotations

import pytest

from emulator.model_server.handlers.request_parts import split

FORM = (
    b'--B\r\nContent-Disposition: form-data; name="text"\r\n\r\none\r\n'
    b'--B\r\nContent-Disposition: form-data; name="file"; filename="x.png"\r\nContent-Type: image/png\r\n\r\n'
    b"\x00\r\n\xff\r\n"
    b"--B\r\nContent-Disposition: form-data; name*=UTF-8''n%C3%A4me\r\n\r\nzwei\r\n"
    b"--B\r\nContent-Disposition: form-data\r\n\r\nof no name\r\n--B--\r\n"
)


@pytest.mark.parametrize(
    "body, query, content_type, parts",
    [
        (b"1,2", "", "text/csv", {"body": (b"1,2", "text/csv")}),
        (b"1,2", "", "text/csv; charset=utf-8", {"body": (b"1,2", "text/csv")}),
        (b"\xff", "", None, {"body": (b"\xff", "")}),
        (b"", "", "text/csv", {"body": (b"", "text/csv")}),
        (b"1", "k=v&k=w&empty=", "text/csv", {"k": (b"w", ""), "empty": (b"", ""), "body": (b"1", "text/csv")}),
        (b"1", "body=q", "text/csv", {"body": (b"1", "text/csv")}),
        (b"a=1&b=2+3&a=%34&c=&d=%FF", "", "application/x-www-form-urlencoded",
         {"a": (b"4", ""), "b": (b"2 3", ""), "c": (b"", ""), "d": ("\N{REPLACEMENT CHARACTER}".encode(), "")}),
        (b"a=1", "a=q&b=q", "Application/X-WWW-Form-URLEncoded", {"a": (b"1", ""), "b": (b"q", "")}),
        (FORM, "q=1", "multipart/form-data; boundary=B",
         {"q": (b"1", ""), "text": (b"one", ""), "file": (b"\x00\r\n\xff", "image/png"), "n\xe4me": (b"zwei", "")}),
        (b"no form", "", "multipart/form-data; boundary=B", {}),
    ],
)  # fmt: skip
def test_a_request_is_split_into_named_parts(
    body: bytes, query: str, content_type: str | None, parts: dict[str, tuple[bytes, str]]
) -> None:
    headers = [("Accept", "x/y"), *([("CONTENT-type", content_type)] if content_type is not None else [])]
    values, types = split(bytearray(body), query, headers)
    assert {name: bytes(value) for name, value in values.items()} == {name: value for name, (value, _) in parts.items()}
    assert types == {name: {"content-type": kind} for name, (_, kind) in parts.items()}
    assert all(isinstance(value, bytearray) for value in values.values())
