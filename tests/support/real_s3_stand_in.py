"""What stands for real S3 in tests: moto's S3 on a port, which records what comes in, and refuses as AWS would."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.support.s3_servers import client

SIGNED = "AWS4-HMAC-SHA256 Credential=placeholder/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
DENIED = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"


@dataclass
class RealS3StandIn:
    """moto's S3. ``client`` makes what is in it, past all that is recorded and refused."""

    url: str
    client: Any
    calls: list[str] = field(default_factory=list)  # METHOD /path, and " signed" if it is
    refuses: Callable[[str, bool], bool] = lambda _path, _is_signed: False
    cuts: int = 0  # answers to GetObject that break off in the middle of the data, from now on
    goes_on: threading.Event = field(default_factory=threading.Event)  # no GetObject is answered until it is set

    def begin(self) -> None:
        """Forget what an earlier test did."""
        self.calls.clear()
        self.refuses, self.cuts = lambda _path, _is_signed: False, 0
        self.goes_on.set()

    def objects_read(self) -> list[str]:
        """The paths of the objects whose data was requested."""
        return [call.split()[1] for call in self.calls if call.startswith("GET ") and call.count("/") > 1]


def start() -> tuple[RealS3StandIn, Callable[[], None]]:
    """Start one, and how to stop it."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    moto = DomainDispatcherApplication(create_backend_app)
    stand_in: RealS3StandIn

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ.get("HTTP_X_TEST"):  # the test's own client
            of_test: Iterable[bytes] = moto(environ, start_response)
            return of_test
        path, is_signed = environ["PATH_INFO"], "HTTP_AUTHORIZATION" in environ
        stand_in.calls.append(f"{environ['REQUEST_METHOD']} {path}{' signed' if is_signed else ''}")
        if stand_in.refuses(path, is_signed):
            start_response(
                "403 Forbidden", [("Content-Length", str(len(DENIED))), ("x-amz-bucket-region", "eu-west-1")]
            )
            return [DENIED if environ["REQUEST_METHOD"] != "HEAD" else b""]
        if environ["REQUEST_METHOD"] == "GET" and path.count("/") > 1:
            stand_in.goes_on.wait(60)
        environ.setdefault("HTTP_AUTHORIZATION", SIGNED)  # moto has no public buckets
        answer: Iterable[bytes] = moto(environ, start_response)
        if stand_in.cuts and environ["REQUEST_METHOD"] == "GET" and path.count("/") > 1:
            stand_in.cuts -= 1
            whole = b"".join(answer)
            return [whole[: len(whole) // 2]]
        return answer

    server = make_server("127.0.0.1", 0, application, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    own = client(url)
    own.meta.events.register("before-sign.s3", lambda request, **_: request.headers.add_header("X-Test", "1"))
    stand_in = RealS3StandIn(url, own)
    stand_in.goes_on.set()

    def stop() -> None:
        stand_in.goes_on.set()
        server.shutdown()
        thread.join()
        server.server_close()

    return stand_in, stop
