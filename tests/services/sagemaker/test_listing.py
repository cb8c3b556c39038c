"""Lists: filters, orders and pages, whatever there is and whatever happens between two pages."""

from __future__ import annotations

import base64
import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.aws.errors import AwsError
from emulator.services.sagemaker.listing import MAX_RESULTS, page
from emulator.services.sagemaker.records import EndpointConfigRecord

STATUSES = ("Creating", "InService", "Failed")
# Few times, so that many are the same.
TIMES = st.sampled_from([1.0, 2.0, 2.5, 1795377819.4999719])
NAMES = st.from_regex(r"[a-cA-C0-1][a-c0-1-]{0,3}", fullmatch=True)


class Record(EndpointConfigRecord):
    """One of any kind, whose status is its argument."""


def record(name: str, created: float = 1.0, modified: float = 0.0, status: str = "InService") -> Record:
    return Record(name, {"status": status}, created, modified)


def status_of(record: Record) -> str:
    return record.arguments["status"]


RECORDS = st.lists(
    st.builds(record, NAMES, TIMES, TIMES, st.sampled_from(STATUSES)), max_size=25, unique_by=lambda r: r.name.lower()
)
ORDERS = st.fixed_dictionaries(
    {},
    optional={
        "SortBy": st.sampled_from(["Name", "CreationTime", "Status"]),
        "SortOrder": st.sampled_from(["Ascending", "Descending"]),
    },
)
FILTERS = st.fixed_dictionaries(
    {},
    optional={
        "NameContains": st.sampled_from(["a", "B", "0-"]),
        "StatusEquals": st.sampled_from(STATUSES),
        "CreationTimeBefore": TIMES,
        "CreationTimeAfter": TIMES,
        "LastModifiedTimeBefore": TIMES,
        "LastModifiedTimeAfter": TIMES,
    },
)


def names(records: list[Record], **asked: Any) -> list[str]:
    """All at once."""
    shown, more = page(records, {"MaxResults": 100, **asked}, status_of)
    assert more == {}
    return [each.name for each in shown]


def expected(records: list[Record], asked: dict[str, Any]) -> list[str]:
    """What a list has to be, told in another way."""
    kept = [
        each
        for each in records
        if asked.get("NameContains", "").casefold() in each.name.casefold()
        and asked.get("StatusEquals", status_of(each)) == status_of(each)
        and not ("CreationTimeBefore" in asked and each.created >= asked["CreationTimeBefore"])
        and not ("CreationTimeAfter" in asked and each.created < asked["CreationTimeAfter"])
        and not ("LastModifiedTimeBefore" in asked and each.modified >= asked["LastModifiedTimeBefore"])
        and not ("LastModifiedTimeAfter" in asked and each.modified <= asked["LastModifiedTimeAfter"])
    ]
    kept.sort(key=lambda each: each.name.casefold())
    by = asked.get("SortBy", "CreationTime")
    if by != "Name":
        kept.sort(key=lambda each: each.created if by == "CreationTime" else status_of(each))
    return [each.name for each in (kept if asked.get("SortOrder") == "Ascending" else reversed(kept))]


@given(RECORDS, ORDERS, FILTERS, st.integers(1, 100))
def test_the_pages_together_are_the_whole_list(
    records: list[Record], order: dict[str, Any], filters: dict[str, Any], size: int
) -> None:
    asked = {**order, **filters}
    pages, more = [], {}
    while not pages or more:
        shown, more = page(records, {**asked, **more, "MaxResults": size}, status_of)
        pages.append(shown)
        assert set(more) <= {"NextToken"}
    assert [each.name for shown in pages for each in shown] == expected(records, asked)
    assert all(len(shown) == size for shown in pages[:-1])
    assert len(pages[-1]) <= size and (pages[-1] or len(pages) == 1)


@given(RECORDS, RECORDS, ORDERS, st.integers(1, 5), st.data())
def test_what_comes_and_goes_between_pages_repeats_nothing_and_hides_nothing_that_stays(
    first: list[Record], later: list[Record], order: dict[str, Any], size: int, data: st.DataObject
) -> None:
    here = {each.name.lower(): each for each in first}
    stayed = dict(here)
    seen: list[Record] = []
    more: dict[str, Any] = {}
    while not seen or more:
        shown, more = page(list(here.values()), {**order, **more, "MaxResults": size}, status_of)
        seen += shown
        if not shown:
            break
        for name in data.draw(st.lists(st.sampled_from(sorted(here)), unique=True, max_size=3)) if here else ():
            del here[name]
            stayed.pop(name, None)
        for new in data.draw(st.lists(st.sampled_from(later), max_size=3)) if later else ():
            here.setdefault(new.name.lower(), new)
    assert len({id(each) for each in seen}) == len(seen)
    assert [each for each in stayed.values() if each not in seen] == []


def test_the_latest_come_first_and_ten_at_a_time_unless_told_otherwise() -> None:
    records = [record(f"n{number:02}", created=float(number)) for number in range(12)]
    shown, more = page(records, {}, status_of)
    assert [each.name for each in shown] == [f"n{number:02}" for number in range(11, 1, -1)]
    assert len(shown) == MAX_RESULTS == 10
    shown, more = page(records, more, status_of)
    assert [each.name for each in shown] == ["n01", "n00"] and more == {}


def test_a_full_last_page_has_no_token() -> None:
    assert page([record("a"), record("b")], {"MaxResults": 2})[1] == {}


def test_names_are_compared_without_regard_to_case() -> None:
    records = [record("Beta"), record("alpha"), record("GAMMA")]
    assert names(records, SortBy="Name", SortOrder="Ascending") == ["alpha", "Beta", "GAMMA"]
    assert names(records, SortBy="Name", SortOrder="Ascending", NameContains="MM") == ["GAMMA"]


@pytest.mark.parametrize(
    "bound, kept",
    [
        ("CreationTimeBefore", ["a"]),
        ("CreationTimeAfter", ["b", "c"]),
        ("LastModifiedTimeBefore", ["a"]),
        ("LastModifiedTimeAfter", ["c"]),
    ],
)
def test_of_the_bounds_only_creation_time_after_has_its_own_time_in_it(bound: str, kept: list[str]) -> None:
    records = [record(name, float(number), float(number)) for number, name in enumerate("abc", 1)]
    assert names(records, SortBy="Name", SortOrder="Ascending", **{bound: 2.0}) == kept


def token_of(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode()


GARBAGE = ["x", "====", "a-b_c", "é", " ", "\x00", "null", "5"] + [
    token_of(text)
    for text in (
        "null",
        "5",
        "[]",
        '["Name", "a", "b"]',
        '["CreationTime", "1", "a"]',
        '["CreationTime", 1.0, 5]',
        "[" * 6000,
    )
]


@pytest.mark.parametrize("token", GARBAGE, ids=range(len(GARBAGE)))
@pytest.mark.parametrize("records", [[], [record("a"), record("b")]], ids=["nothing", "something"])
def test_what_is_no_token_of_this_list_is_refused(token: str, records: list[Record]) -> None:
    with pytest.raises(AwsError, match="The NextToken is invalid for this list."):
        page(records, {"NextToken": token})


@given(st.text(max_size=60), ORDERS)
def test_whatever_the_token_the_answer_is_a_list_or_a_refusal(token: str, order: dict[str, Any]) -> None:
    try:
        shown, _ = page([record("a"), record("b")], {**order, "NextToken": token}, status_of)
    except AwsError:
        return
    assert len(shown) <= 2


@pytest.mark.parametrize("by, other", [*itertools.permutations(["Name", "CreationTime", "Status"], 2)])
def test_the_token_of_a_list_that_is_sorted_by_something_else_is_refused(by: str, other: str) -> None:
    records = [record("a"), record("b")]
    _, more = page(records, {"SortBy": by, "MaxResults": 1}, status_of)
    with pytest.raises(AwsError, match="NextToken"):
        page(records, {"SortBy": other, **more}, status_of)
