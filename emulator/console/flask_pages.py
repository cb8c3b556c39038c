"""Health and state as JSON, metrics for Prometheus, and the answer to requests for nothing that there is."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from emulator.aws.asgi import Application
from emulator.aws.request import HEALTH
from emulator.aws.request import PAGES as PREFIX
from emulator.aws.wsgi import in_threads
from emulator.console.prometheus import PrometheusPage
from emulator.state import EmulatorState

if TYPE_CHECKING:
    from flask import Flask, Response

POLICY = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"  # nothing of it is HTML


def pages_in_threads(
    is_in_service: Callable[[], bool],
    state: Callable[[], Coroutine[Any, Any, EmulatorState]],
    prometheus: PrometheusPage,
    region: str,
    loop: asyncio.AbstractEventLoop,
) -> Callable[[], Application]:
    """Makes the application with the first request for it: importing Flask takes a while."""
    return functools.cache(lambda: in_threads(flask_application(is_in_service, state, prometheus, region, loop)))


def flask_application(
    is_in_service: Callable[[], bool],
    state: Callable[[], Coroutine[Any, Any, EmulatorState]],
    prometheus: PrometheusPage,
    region: str,
    loop: asyncio.AbstractEventLoop,
) -> Flask:
    """A WSGI application that runs in threads. Everything that it shows comes from the event loop."""
    from flask import Flask, abort, jsonify, request

    app = Flask(__name__, static_folder=None)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.url_map.merge_slashes = False

    @app.before_request
    def refuse_other_spellings() -> None:
        # Werkzeug routes //_localmme/state as /_localmme/state, for which access control has checked no permission.
        if request.url_rule is not None and request.environ["PATH_INFO"] != request.url_rule.rule:
            abort(404)

    @app.after_request
    def protect(answer: Response) -> Response:
        answer.headers["Content-Security-Policy"] = POLICY
        return answer

    @app.get(HEALTH)
    def health() -> tuple[Response, int]:
        in_service = is_in_service()
        return jsonify(in_service=in_service, region=region), 200 if in_service else 503

    @app.get(PREFIX + "state")
    def whole_state() -> Response:
        return jsonify(asyncio.run_coroutine_threadsafe(state(), loop).result())

    @app.get(PREFIX + "metrics")
    def metrics() -> Response:
        snapshot = asyncio.run_coroutine_threadsafe(prometheus.snapshot(), loop).result()
        content_type, text = prometheus.text(snapshot, request.headers.get("Accept", ""))
        return app.response_class(text, content_type=content_type)

    @app.errorhandler(404)
    def not_found(_: Exception) -> tuple[Response, int]:
        pages = sorted(rule.rule for rule in app.url_map.iter_rules() if rule.rule.startswith(PREFIX))
        return jsonify(
            Message=f"Nothing is served here. Endpoints are invoked by POST /endpoints/NAME/invocations; "
            f"the emulator's own pages are {' and '.join([PREFIX, *pages])}."
        ), 404

    return app
