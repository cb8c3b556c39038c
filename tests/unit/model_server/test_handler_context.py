"""The context that a handler gets: when its model is loaded, and with each request.

What is asserted here of Multi Model Server 1.1.11 and of SageMaker's inference toolkit 1.10.1 was observed with both.
"""

from __future__ import annotations

import pytest

from tests.support.handlers import CSV, JSON, Models


def test_the_context_of_a_load(load: Models, caplog: pytest.LogCaptureFixture) -> None:
    model = load(
        """
        def handle(data, context):
            global loaded
            if data is None:
                loaded = [context.model_name, context.system_properties, context.manifest,
                          context.request_processor, context.request_ids]
                context.set_response_status(500)
                context.metrics.add_counter("Loads", 1)
            else:
                return [loaded]
        """
    )
    model_name, properties, *rest = model.ask().json()
    assert model_name == model.name
    assert properties["model_dir"] == str(model.directory)
    assert properties["batch_size"] == 1
    assert {"gpu_id", "server_name", "server_version"} < set(properties)
    assert rest == [None, None, None]
    assert f"[METRICS]Loads.Count:1|#ModelName:{model.name},Level:Model|#hostname:" in caplog.text


def test_the_manifest_of_an_archive_is_in_the_context(load: Models) -> None:
    directory = load.write(inference="def handle(data, context): return [context.manifest]")
    (directory / "MAR-INF").mkdir()
    (directory / "MAR-INF" / "MANIFEST.json").write_text('{"modelVersion": "1.0"}')
    assert load.loaded(directory).ask().json() == {"modelVersion": "1.0"}


def test_the_context_of_a_request(load: Models) -> None:
    model = load(
        """
        def handle(data, context):
            if data is None: return
            processor = context.request_processor[0]
            context.set_response_header(0, "X-Answer", "42")
            context.set_response_content_type(0, "application/json")
            context.set_all_response_status(202, "Taken")
            return [[
                context.get_request_id() == context.request_ids[0] == context.get_request_id(0),
                context.get_request_id(1),
                context.get_request_header(0, "Accept"),
                context.get_request_header(0, "accept"),
                context.get_request_header(0, "body"),
                context.get_all_request_header(0) == processor.get_request_properties(),
                processor.get_request_property("Accept"),
                context.get_response_headers(0),
                context.get_response_content_type(0),
                context.get_response_status(0),
                [processor.get_response_status_code(), processor.get_response_status_phrase()],
                processor.get_response_header("X-Answer"),
            ]]
        """
    )
    answer = model.ask(b"", CSV, "a/b")
    assert answer.json() == [
        True,
        None,
        "a/b",
        None,
        {"content-type": CSV},
        True,
        "a/b",
        {"X-Answer": "42", "content-type": JSON},
        JSON,
        [202, "Taken"],
        [202, "Taken"],
        "42",
    ]
    assert (answer.status, answer.headers["X-Answer"], answer.headers["content-type"]) == (202, "42", JSON)


def test_each_request_begins_with_a_clean_context(load: Models) -> None:
    model = load(
        """
        def handle(data, context):
            if data is None: return
            seen = [dict(context.get_response_headers(0)), context.get_response_status(0)]
            context.set_response_header(0, "X-Answer", "1")
            context.set_response_status(418, "teapot")
            return [[context.get_request_id(), *seen]]
        """
    )
    first, *clean = model.ask().json()
    second, *again = model.ask().json()
    assert first != second
    assert clean == again == [{}, [200, None]]


def test_what_a_handler_measures_is_logged(load: Models, caplog: pytest.LogCaptureFixture) -> None:
    model = load(
        """
        class Dimension:
            def __str__(self): return "Host:h"

        def handle(data, context):
            if data is None: return
            metrics = context.metrics
            metrics.add_counter("Words", 2)
            metrics.add_counter("Words", 3)
            metrics.add_time("Parsing", 1.5)
            metrics.add_time("Thinking", 2, None, "s", [Dimension()])
            metrics.add_size("Text", 7, unit="kB")
            metrics.add_percent("Sure", 99)
            metrics.add_metric("Mood", "good", unit="faces")
            metrics.add_error("Oops", "wrong")
            for add in (metrics.add_time, metrics.add_size):
                try:
                    add("Bad", 1, unit="furlong")
                except ValueError:
                    metrics.add_counter("Refused", 1)
            return [context.get_request_id()]
        """
    )
    request_id = model.ask().body.decode()
    model.ask()
    end = f"|#ModelName:{model.name},Level:Model|#hostname:"
    for line in (
        "[METRICS]Words.Count:5" + end,
        "[METRICS]Parsing.Milliseconds:1.5" + end,
        f"[METRICS]Thinking.Seconds:2|#Host:h,ModelName:{model.name},Level:Model|#hostname:",
        "[METRICS]Text.Kilobytes:7" + end,
        "[METRICS]Sure.Percent:99" + end,
        "[METRICS]Mood.faces:good" + end,
        "[METRICS]Oops.:wrong|#Level:Error|#hostname:",
        "[METRICS]Refused.Count:2" + end,
    ):
        assert line in caplog.text
    assert any("Words.Count" in line and line.endswith(request_id) for line in caplog.messages)
