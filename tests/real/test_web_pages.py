"""Pages of others in a real browser: nothing that they try at an emulator runs, and nothing of it can be read.

Each way is tried three times: at a server that takes everything, to see that the browser sends it; at an emulator that
allows the page's origin, to see what it would do; and at one that does not.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tests.support.emulator_process import Emulator
from tests.support.files import archive
from tests.support.real_clients import browser
from tests.support.real_servers.making import NotProvisioned

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.real

SIGNED = "X-Amz-Credential=x/20260101/us-east-1/{}/aws4_request"
ATTACKER = "evil.example"
ROLE = "arn:aws:iam::123456789012:role/x"
HANDLER = """
from pathlib import Path
def model_fn(directory):
    Path({marker!r}).touch()
def transform_fn(model, data, content_type, accept):
    return data, "text/plain"
"""


class Anything(BaseHTTPRequestHandler):
    """Takes every request of every page, and remembers it. A GET of ``/page`` is an empty page."""

    protocol_version = "HTTP/1.1"
    seen: list[tuple[str, str]]

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.seen.append((self.command, self.path))
        self.send_response(200)
        self.send_header("Access-Control-Allow-Origin", self.headers.get("origin", "*"))
        self.send_header("Access-Control-Allow-Methods", "GET, HEAD, POST, PUT, DELETE")
        self.send_header("Access-Control-Allow-Headers", "*")
        body = b"" if self.command == "HEAD" else b"<!doctype html><title>page</title>"
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = answer

    def log_message(self, *_: Any) -> None: ...


class Tried:
    """An emulator with an endpoint, in whose bucket ``b`` there are a page and a file that is to stay."""

    def __init__(self, directory: Path, *options: str) -> None:
        self.s3, self.marker = directory / "s3", directory / "ran"
        archive(self.s3 / "b" / "a.tar.gz", {"code/inference.py": HANDLER.format(marker=str(directory / "own"))})
        (self.s3 / "b" / "stays").write_text("secret")
        self.emulator = Emulator("--models", str(self.s3), *options, state=directory / "state")
        self.emulator.wait_in_service()
        self.url = self.emulator.url
        html = b"<title>object</title><script>document.title = 'ran'</script>"
        self.iam, self.sagemaker = self.emulator.client_of("iam"), self.emulator.client_of("sagemaker")
        s3 = self.emulator.client_of("s3")
        s3.put_object(Bucket="b", Key="page.html", Body=html, ContentType="text/html")

    def harm(self) -> set[str]:
        """What is not as it was."""
        users = {user["UserName"] for user in self.iam.list_users()["Users"]}
        models = {model["ModelName"] for model in self.sagemaker.list_models()["Models"]} - {"local"}
        files = {path.name for path in (self.s3 / "b").iterdir()} ^ {"a.tar.gz", "stays", "page.html"}
        return users | models | files | ({"ran"} if self.marker.exists() else set())


@pytest.fixture(scope="module")
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture(scope="module")
def chromium(stack: ExitStack) -> Browser:
    try:
        return stack.enter_context(browser.launched(names={ATTACKER: "127.0.0.1"}))
    except NotProvisioned as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def anything(stack: ExitStack) -> ThreadingHTTPServer:
    """The server of the attacker's page, which is also one that takes everything."""
    Anything.seen = []
    server = stack.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), Anything))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    stack.callback(server.shutdown)
    return server


@pytest.fixture(scope="module")
def guarded(stack: ExitStack, tmp_path_factory: pytest.TempPathFactory) -> Tried:
    tried = Tried(tmp_path_factory.mktemp("guarded"))
    stack.callback(tried.emulator.stop)
    return tried


@pytest.fixture(scope="module")
def allowing(stack: ExitStack, tmp_path_factory: pytest.TempPathFactory, anything: ThreadingHTTPServer) -> Tried:
    """One that lets the attacker's page in, and takes the attacker's name for its own."""
    origin = f"http://{ATTACKER}:{anything.server_port}"
    tried = Tried(tmp_path_factory.mktemp("allowing"), "--allow-origin", origin, "--allow-host", ATTACKER)
    stack.callback(tried.emulator.stop)
    return tried


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    page = chromium.new_page()
    page.set_default_timeout(60_000)
    yield page
    page.close()


# What a page tries, as functions of the address of its victim, and what that says to it.
SCRIPT = """
const settled = (element, set) => new Promise(done => {
  element.onload = () => done("loaded"); element.onerror = () => done("error");
  set(element); document.body.append(element);
});
const call = (path, target, body) => fetch(victim + path,
  {method: "POST", headers: {"x-amz-target": "SageMaker." + target}, body: JSON.stringify(body)});
const said = async (answer) => {
  const got = await answer; return got.type + " " + got.status + " " + await got.text();
};
"""
FORM = """
const frame = document.createElement("iframe"); frame.name = "posted"; document.body.append(frame);
const form = document.createElement("form");
Object.assign(form, {method: "post", enctype: "text/plain", target: "posted", action: victim + "/b?delete"});
const input = document.createElement("input");
input.name = "<Delete><Object><Key>stays</Key></Object></Delete><!--"; input.value = "-->";
form.append(input); document.body.append(form);
const done = new Promise(done => frame.onload = done);
form.submit(); await done; return "sent";
"""
CREATE = (
    'await call(path, "CreateModel", {ModelName: "page", ExecutionRoleArn: "' + ROLE + '", PrimaryContainer: '
    '{Image: "handler:", Mode: "MultiModel", ModelDataUrl: "s3://b/"}}); return "sent";'
)
IAM = SIGNED.format("iam")
# By name: what the page runs; the request that it comes to; what is not as it was where it is allowed.
WAYS: dict[str, tuple[str, tuple[str, str], set[str]]] = {
    "a preflighted call": ('const path = "/called"; ' + CREATE, ("POST", "/called"), {"page"}),
    # To moto, which lets pages of all origins send x-amz-target.
    "a call with a preflight to another service": (
        f'const path = "/?Action=GetCallerIdentity&{SIGNED.format("sts")}"; {CREATE}',
        ("POST", "/?Action="),
        set(),
    ),
    "a form without preflight": (
        f"""await fetch(victim + "/?{IAM}", {{method: "POST", mode: "no-cors",
        headers: {{"content-type": "application/x-www-form-urlencoded"}},
        body: "Action=CreateUser&Version=2010-05-08&UserName=posted"}}); return "sent";""",
        ("POST", f"/?{IAM}"),
        {"posted"},
    ),
    "a posted form": (FORM, ("POST", "/b?delete"), {"stays"}),
    "DELETE": (
        'return await said(fetch(victim + "/b/stays", {method: "DELETE"}));',
        ("DELETE", "/b/stays"),
        {"stays"},
    ),
    "PUT": (
        'return await said(fetch(victim + "/b/put", {method: "PUT", body: "x"}));',
        ("PUT", "/b/put"),
        {"put"},
    ),
    "HEAD": ('return await said(fetch(victim + "/b/stays", {method: "HEAD"}));', ("HEAD", "/b/stays"), set()),
    "an image": (
        f"""return await settled(new Image(), image => image.src = victim
        + "/?Action=CreateUser&Version=2010-05-08&UserName=image&{IAM}");""",
        ("GET", "/?Action=CreateUser"),
        set(),
    ),
    "a script": (
        """return await settled(document.createElement("script"),
        script => script.src = victim + "/_localmme/state?script");""",
        ("GET", "/_localmme/state?script"),
        set(),
    ),
    "a frame": (
        """await settled(document.createElement("iframe"), frame => frame.src = victim + "/b/page.html?framed");
        return frames[frames.length - 1].name;""",
        ("GET", "/b/page.html?framed"),
        set(),
    ),
    "reading": (
        'return await said(fetch(victim + "/_localmme/state?read"));',
        ("GET", "/_localmme/state?read"),
        set(),
    ),
    "reading without preflight": (
        'return await said(fetch(victim + "/b/stays?opaque", {mode: "no-cors"}));',
        ("GET", "/b/stays?opaque"),
        set(),
    ),
    "an event source": (
        """const source = new EventSource(victim + "/b/stays?events");
        return await new Promise(done => {
          source.onerror = () => { source.close(); done("error"); }; source.onmessage = event => done(event.data);
        });""",
        ("GET", "/b/stays?events"),
        set(),
    ),
    "a websocket": (
        """const socket = new WebSocket(victim.replace("http", "ws") + "/_localmme/state?socket");
        return await new Promise(done => {
          socket.onopen = () => done("open"); socket.onerror = () => done("error");
        });""",
        ("GET", "/_localmme/state?socket"),
        set(),
    ),
}  # fmt: skip


def attempt(page: Page, script: str, victim: str) -> str:
    """What the page gets to know."""
    body = f"async (victim) => {{ {SCRIPT} try {{ {script} }} catch (error) {{ return 'failed'; }} }}"
    return str(page.evaluate(body, victim))


def at_home(page: Page, anything: ThreadingHTTPServer, host: str = ATTACKER) -> Page:
    page.goto(f"http://{host}:{anything.server_port}/page")
    return page


def test_the_browser_sends_each_of_them(page: Page, anything: ThreadingHTTPServer) -> None:
    for way, (script, (method, path), _) in WAYS.items():
        at_home(page, anything, "localhost")  # so that the server, whose address is another, is another origin
        Anything.seen.clear()
        attempt(page, script, f"http://127.0.0.1:{anything.server_port}")
        assert [each for each in Anything.seen if each[0] == method and each[1].startswith(path)], way


@pytest.mark.parametrize("host", [ATTACKER, "127.0.0.1", "evil.localhost"])
def test_nothing_runs_and_nothing_is_read(page: Page, anything: ThreadingHTTPServer, guarded: Tried, host: str) -> None:
    at_home(page, anything, host)
    for way, (script, _, _) in WAYS.items():
        got = attempt(page, script, guarded.url)
        assert got in ("sent", "failed", "error", "loaded", "", "opaque 0 "), (way, got)
        assert way not in ("an image", "a script", "a websocket") or got == "error", (way, got)
    assert guarded.harm() == set()


def test_each_would_do_what_it_is_after_if_the_page_were_allowed(
    page: Page, anything: ThreadingHTTPServer, allowing: Tried
) -> None:
    for way, (script, _, harm) in WAYS.items():
        if harm:
            (allowing.s3 / "b" / "stays").write_text("secret")
            before = allowing.harm()
            attempt(at_home(page, anything), script, allowing.url)
            assert allowing.harm() - before == harm, way


def test_an_allowed_page_reads_and_writes(page: Page, anything: ThreadingHTTPServer, allowing: Tried) -> None:
    at_home(page, anything)
    got = attempt(page, 'return await said(fetch(victim + "/_localmme/state"));', allowing.url)
    assert got.startswith('cors 200 {"url":')
    put = """await fetch(victim + "/b/new", {method: "PUT", headers: {"x-amz-meta-who": "me"}, body: "x"});
    const got = await fetch(victim + "/b/new"); return got.headers.get("x-amz-meta-who") + await got.text();"""
    assert attempt(page, put, allowing.url) == "mex"
    (allowing.s3 / "b" / "new").unlink()
    invoke = """return await said(fetch(victim + "/endpoints/local/invocations", {method: "POST",
    headers: {"X-Amzn-SageMaker-Target-Model": "b/a.tar.gz", "content-type": "text/plain"}, body: "hello"}));"""
    assert attempt(page, invoke, allowing.url) == "cors 200 hello"


TOKEN = """const got = await fetch(victim + "/_localmme/");
return (await got.text()).match(/localmme-token" content="(.*?)"/)[1];"""
ACT = """return await said(fetch(victim + "/_localmme/actions/unload-model", {method: "POST",
headers: {"x-localmme-token": "guessed"}, body: JSON.stringify({target_model: "b/a.tar.gz"})}));"""
FOLLOW = """const source = new EventSource(victim + "/_localmme/events");
return await new Promise(done => {
  source.onerror = () => { source.close(); done("error"); };
  source.addEventListener("hello", event => { source.close(); done("followed"); });
});"""
FRAME = """await settled(document.createElement("iframe"), frame => frame.src = victim + "/_localmme/");
return String(frames[frames.length - 1].length);"""


def test_no_other_page_gets_the_token_or_shows_the_emulators_page(
    page: Page, anything: ThreadingHTTPServer, guarded: Tried, allowing: Tried
) -> None:
    at_home(page, anything)
    for tried, act, follow in ((guarded, "failed", "error"), (allowing, "cors 403", "followed")):
        assert attempt(page, TOKEN, tried.url) == "failed"
        assert attempt(page, ACT, tried.url).startswith(act)
        assert attempt(page, FOLLOW, tried.url) == follow
        assert attempt(page, FRAME, tried.url) in ("0", "error", "failed")


def test_no_page_reaches_the_container(guarded: Tried) -> None:
    # localmme's own server listens at a socket that is a file, which no page can call.
    below = [process for process in guarded.emulator.processes() if "emulator.model_server" in process.cmdline()]
    assert below
    assert not any(c.status == psutil.CONN_LISTEN for process in below for c in process.net_connections("tcp"))


def led_here(page: Page, tried: Tried) -> str:
    """The address of an emulator by a name that was the attacker's when its page was loaded."""
    rebound = tried.url.replace("127.0.0.1", ATTACKER)
    page.route(rebound + "/page", lambda route: route.fulfill(body="<title>page</title>", content_type="text/html"))
    page.goto(rebound + "/page")
    return rebound


READ = 'return await said(fetch(victim + "/_localmme/state"));'


def test_a_name_that_is_led_here_afterwards_is_not_the_emulators(page: Page, guarded: Tried) -> None:
    rebound = led_here(page, guarded)
    got = attempt(page, READ, rebound)
    assert got.startswith("basic 403 ")
    assert f"--allow-host {ATTACKER}" in got
    for script, _, _ in WAYS.values():
        attempt(page, script, rebound)
    assert guarded.harm() == set()


def test_it_would_be_if_it_were_allowed(page: Page, allowing: Tried) -> None:
    assert attempt(page, READ, led_here(page, allowing)).startswith('basic 200 {"url":')


def test_an_object_that_is_a_page_does_not_run_as_the_emulators(page: Page, guarded: Tried) -> None:
    answer = page.goto(guarded.url + "/b/page.html")  # typed by the user
    assert answer is not None
    assert (answer.status, page.title()) == (200, "object")
    assert answer.headers["content-security-policy"] == "sandbox"
    attack = "<script>document.title='ran'</script>"
    for signed in ("", f"&{SIGNED.format('s3')}&X-Amz-Signature=x"):
        for split in ("", f"%0d%0a%0d%0a{attack}"):
            page.goto(f"{guarded.url}/b/page.html?response-content-type=text/html{split}{signed}")
            assert page.title() != "ran"


def test_a_link_of_a_page_does_not_lead_here_but_a_typed_address_does(
    page: Page, anything: ThreadingHTTPServer, guarded: Tried
) -> None:
    at_home(page, anything)
    with page.expect_navigation() as navigation:
        page.evaluate("address => { location.href = address; }", guarded.url + "/_localmme/state")
    assert navigation.value.status == 403
    assert "Type the address" in page.content() or "--allow-origin" in page.content()
    answer = page.goto(guarded.url + "/_localmme/state")
    assert answer is not None
    assert answer.status == 200
    assert "default-src 'none'; frame-ancestors 'none'" in answer.headers["content-security-policy"]
