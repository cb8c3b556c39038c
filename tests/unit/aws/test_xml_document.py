"""XML documents as AWS's services write them."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from emulator.aws.xml_document import Element, document, text

HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'


@pytest.mark.parametrize(
    "children, written",
    [
        ([], "<R></R>"),
        ([("A", "x"), ("A", "y")], "<R><A>x</A><A>y</A></R>"),
        ([("Count", 0), ("Is", True), ("No", False)], "<R><Count>0</Count><Is>true</Is><No>false</No></R>"),
        ([("Owner", [("ID", "1"), ("Grants", [])])], "<R><Owner><ID>1</ID><Grants></Grants></Owner></R>"),
        ([("Key", "")], "<R><Key></Key></R>"),
        ([("Key", "<&>\"'")], "<R><Key>&lt;&amp;&gt;&quot;'</Key></R>"),
    ],
)  # fmt: skip
def test_a_document_is_its_elements_in_order(children: list[Element], written: str) -> None:
    assert document("R", children) == (HEAD + written).encode()


def test_a_namespace_is_that_of_all_elements() -> None:
    root = ElementTree.fromstring(document("R", [("A", "ä")], namespace="http://s3.amazonaws.com/doc/2006-03-01/"))
    assert root.tag == "{http://s3.amazonaws.com/doc/2006-03-01/}R"
    assert root.findtext("{http://s3.amazonaws.com/doc/2006-03-01/}A") == "ä"


@pytest.mark.parametrize(
    "value, written",
    [
        ("a\tb\nc", "a\tb\nc"),
        ("a\rb", "a&#xD;b"),  # a parser would make a line feed of it
        ("\x00\x1f", "&#x0;&#x1F;"),
        ("\ufffe\uffff", "&#xFFFE;&#xFFFF;"),
        ("&amp;", "&amp;amp;"),
    ],
)
def test_what_xml_cannot_hold_is_a_character_reference(value: str, written: str) -> None:
    assert text(value) == written


def test_half_of_a_character_is_a_question_mark() -> None:
    assert document("R", [("A", "\ud83d")]) == (HEAD + "<R><A>?</A></R>").encode()
