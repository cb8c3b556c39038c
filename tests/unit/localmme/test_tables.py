"""What notebooks and ``localmme models`` show of an emulator, as a page and as text."""

from __future__ import annotations

import io
import time
from typing import Any, cast

from rich.console import Console

from emulator.state import EmulatorState, ModelState
from localmme import tables


def shown(*endpoints: dict[str, Any]) -> tables.Shown:
    """The state of an emulator with these endpoints."""
    return tables.state(lambda: cast(EmulatorState, {"url": "http://127.0.0.1:1", "endpoints": list(endpoints)}))


def test_what_the_containers_of_an_instance_share_is_shown_once_and_why_an_endpoint_failed() -> None:
    loaded = [
        {"target_model": name, "in_flight": in_flight, "memory_bytes": size, "last_used": time.time() - idle}
        for name, in_flight, size, idle in (("busy", 1, None, 90.0), ("late", 0, 2**20, 7.5), ("idle", 0, 2**21, 61.0))
    ]
    memory = {"used_bytes": 512 * 2**20, "budget_bytes": 2**30, "max_loaded_models": 4, "models": loaded}
    instance = {
        "instance_id": "i-1",
        "in_flight": 2,
        "containers": [
            {"name": "before", "healthy": True, "restarts": 0},
            {"name": "after", "healthy": False, "restarts": 3},
        ],
        "memory": {**memory, "next_victim": "idle"},
        "volume": {"used_bytes": 0, "capacity_bytes": 2 * 1024**3},
    }
    endpoint = {"endpoint_name": "prices", "status": "Failed", "failure_reason": "no <reason>", "models": []}
    variants = [{"variant_name": "A", "instances": [instance]}]
    page = shown({**endpoint, "variants": variants})
    containers, resources, in_memory = page.tables
    assert containers.title == "Endpoint prices, Failed: no <reason>"
    assert containers.rows == [["A", "i-1", "before", "yes", "0", "2"], ["A", "i-1", "after", "no", "3", ""]]
    assert resources.rows == [["i-1", "3 of 4", "512 MiB of 1 GiB", "████░░░░", "0 B of 2 GiB", "░░░░░░░░"]]
    assert in_memory.rows == [
        ["i-1", "idle", "2 MiB", "0", "1 min", "goes next"],
        ["i-1", "late", "1 MiB", "0", "7 s", ""],
        ["i-1", "busy", "-", "1", "1 min", ""],
    ]
    assert all(tables.fitting(table, 80) == (table, []) for table in page.tables)
    assert "no &lt;reason&gt;" in page._repr_html_()


def test_an_emulator_without_an_endpoint_is_shown_as_such() -> None:
    assert str(shown()) == "localmme at http://127.0.0.1:1, without an endpoint"


def model(target_model: str, **changes: Any) -> ModelState:
    counts = dict.fromkeys(
        ("size_bytes", "loads", "failed_loads", "unloads", "invocations", "model_errors", "mean_load_wait_us"), 3
    )
    where = {"in_s3": True, "on_disk": True, "in_memory": False, "instances": [], "memory_bytes": None}
    times = {"last_loaded": None, "last_used": None}
    return cast(ModelState, {"target_model": target_model, **where, **counts, **times, **changes})


def test_of_each_model_it_is_shown_what_became_of_it() -> None:
    now = time.time()
    there: dict[str, Any] = {
        "in_memory": True, "instances": ["i-1"], "memory_bytes": 61 << 20, "last_loaded": now - 130
    }  # fmt: skip
    counts = {"loads": 2, "failed_loads": 1, "unloads": 4, "invocations": 9, "model_errors": 5}
    counts["mean_load_wait_us"] = 1_234_500
    table = tables.models([model("a.tar.gz", **there, **counts, last_used=now - 3 * 86400)])
    (row,) = table.rows
    assert dict(zip(table.columns, row, strict=True)) == {
        "target model": "a.tar.gz", "size": "3 B", "is in": "memory", "memory": "61 MiB", "loads": "2", "failed": "1",
        "evicted": "4", "calls": "9", "errors": "5", "cold": "1,234 ms", "loaded": "2 min", "used": "3 d",
    }  # fmt: skip
    both = [model(name, **{**there, "instances": [f"i-{number}"]}) for number, name in enumerate("ab")]
    assert [row[-1] for row in tables.models(both).rows] == ["i-0", "i-1"]
    assert tables.models(both).columns[-1] == "on"
    deleted = [model("a", **there, in_s3=False), model("b", in_s3=False, on_disk=False), model("c")]
    assert [row[2] for row in tables.models(deleted).rows] == ["memory, not S3", "not S3", "disk"]


def test_a_narrow_terminal_is_shown_what_matters_and_told_what_it_lacks() -> None:
    table = tables.models([model("europe/lisbon.tar.gz")])
    assert tables.fitting(table, 500) == (table, [])
    narrow, left_out = tables.fitting(table, 80)
    assert left_out and not {*left_out} & {*narrow.columns}
    assert {"target model", "is in", "loads", "failed", "calls", "errors"} <= {*narrow.columns}
    assert all(len(row) == len(narrow.columns) for row in narrow.rows)
    shown = io.StringIO()
    Console(file=shown, width=80).print(tables.rich_table(narrow))
    assert "europe/lisbon.tar.gz" in shown.getvalue()


def test_a_name_that_was_mistyped_is_no_model_and_what_is_no_archive_is_told() -> None:
    nowhere: dict[str, Any] = {"in_s3": False, "on_disk": False, "loads": 0}
    gone = model("deleted.tar.gz", in_s3=False, on_disk=False)
    assert [row[0] for row in tables.models([model("lisbno.tar.gz", **nowhere), gone]).rows] == ["deleted.tar.gz"]
    assert tables.no_archives([model("a.tar.gz", loads=0), model("loaded.pkl"), model("gone.pkl", **nowhere)]) == ""
    told = tables.no_archives([model(f"m{number}.pkl", loads=0) for number in range(4)])
    assert told.startswith("No archives by their names, and never loaded: m0.pkl, m1.pkl, m2.pkl, ...")


def test_names_are_shown_as_they_are_and_are_never_html() -> None:
    shown = tables.Shown("[bold]<b>", [tables.models([model("<script>alert(1)</script>&[red].tar.gz")])])
    page, text = shown._repr_html_(), str(shown)
    assert "<script>" not in page and "&lt;script&gt;alert(1)&lt;/script&gt;&amp;[red].tar.gz" in page
    assert "<div>[bold]&lt;b&gt;</div>" in page
    assert "<script>alert(1)</script>&[red].tar.gz" in text and text.startswith("[bold]<b>")


def test_the_page_has_no_colours_of_its_own() -> None:
    page = tables.Shown("", [tables.models([model("a.tar.gz")])])._repr_html_()
    colours = {style.strip() for part in page.split('style="')[1:] for style in part.split('"')[0].split(";")}
    assert {style for style in colours if "color" in style or "background" in style} == {
        "color: inherit",
        "background: transparent",
    }


def test_of_very_many_models_the_first_are_shown_and_the_others_counted() -> None:
    shown = tables.Shown("", [tables.models(model(f"{number}.tar.gz") for number in range(tables.ROWS + 5))])
    for form in (shown._repr_html_(), str(shown)):
        assert form.count(".tar.gz") == tables.ROWS
        assert "and 5 more" in form
