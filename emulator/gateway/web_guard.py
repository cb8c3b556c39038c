"""The first step of every request: it must be addressed to this emulator, and not come from a web page.

A browser runs pages of anybody on the developer's machine, and lets them send requests to it. It says which page sent
one (Origin, Referer, Sec-Fetch-Site), and for which name (Host): by DNS, a page can have its own name lead here and
then count as the emulator's own. SDKs, the AWS CLI and curl send nothing but a Host.
"""

from __future__ import annotations

import functools
import ipaddress
import logging
import re
import urllib.parse
from collections.abc import Sequence

from emulator.aws.asgi import Headers, HeadersByName, Scope
from emulator.errors import SetupError
from emulator.gateway.access.denials import Denial, not_admitted

# AWS's DNS suffixes: [api] botocore's partitions. Nobody but AWS can have a name there lead to another machine.
AWS_DOMAINS = (
    ("amazonaws.com", "api.aws")
    + ("amazonaws.com.cn", "api.amazonwebservices.com.cn")
    + ("amazonaws.eu", "api.amazonwebservices.eu")
    + ("c2s.ic.gov", "api.aws.ic.gov")
    + ("sc2s.sgov.gov", "api.aws.scloud")
    + ("cloud.adc-e.uk", "api.cloud-aws.adc-e.uk")
    + ("csp.hci.ic.gov", "api.aws.hci.ic.gov")
)
# What container engines call this machine in their containers. ICANN keeps .internal from being given to anybody.
ENGINE_NAMES = {"host.docker.internal", "gateway.docker.internal", "host.containers.internal"}
AUTHORITY = re.compile(r"(?:\[(?P<literal>[0-9a-f:.]+)\]|(?P<name>[a-z0-9_.-]+))(?::\d{0,5})?", re.ASCII)
HOST_NAME = re.compile(r"(?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*", re.ASCII)
ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#@\s\\,*]+", re.ASCII)
DEFAULT_PORTS = {"http": "80", "https": "443"}
OF_PAGES = frozenset({b"origin", b"referer", b"sec-fetch-site"})
# What Sec-Fetch-Site says of the emulator's own pages, and of an address that somebody typed.
HARMLESS_SITES = {b"same-origin", b"none"}
TOLD_CHARACTERS = 200  # [ours] of what the caller sent, in a message
MOST_WARNINGS = 20  # [ours] in the log; a page could go on for ever

log = logging.getLogger("localmme")


class WebGuard:
    """Admits requests by their Host, and by what browsers say of the page behind them."""

    def __init__(self, hosts: Sequence[str] = (), origins: Sequence[str] = ()) -> None:
        """``hosts`` and ``origins`` are let in as well; both as ``host_name`` and ``origin`` give them."""
        self._hosts = frozenset(host for host in hosts if not host.startswith("*."))
        self._domains = tuple(host[1:] for host in hosts if host.startswith("*."))
        self._origins = frozenset(origin.encode() for origin in origins)
        self._is_ours = functools.lru_cache(256)(self._is_ours_uncached)
        self._warned: set[str] = set()

    def admit(self, headers: Headers, address: str) -> bytes:
        """The origin of the page that a request comes from, if that is allowed; else nothing. Raises Denial.

        ``address`` is the one that the request has come to.
        """
        try:
            return self._admit(headers, address)
        except Denial as refusal:
            self._warn(refusal.message)
            raise

    def admits_plainly(self, headers: HeadersByName, address: str) -> bool:
        """Whether it is a request to this emulator that no browser has sent; all others are for ``admit``.

        None of its headers is there twice, and one of them is the Host.
        """
        try:
            return OF_PAGES.isdisjoint(headers) and self._is_ours(headers[b"host"], address)
        except Denial:
            return False

    def _admit(self, headers: Headers, address: str) -> bytes:
        hosts = [value for name, value in headers if name == b"host"]
        if len(hosts) != 1:
            raise not_admitted(
                400, f"A request must have exactly one Host header, and this one has {len(hosts) or 'none'}."
            )
        host = hosts[0]
        if not self._is_ours(host, address):
            raise _not_ours(host)
        return self._admit_page(headers, b"http://" + host.lower())

    def _admit_page(self, headers: Headers, own: bytes) -> bytes:
        """``own`` is the emulator's origin as the page would have it."""
        origins = [value.lower() for name, value in headers if name == b"origin"]
        # Where there is no Origin, as in GET: the page's address, if it does not hide it.
        origins = origins or [_origin_of(value) for name, value in headers if name == b"referer"]
        if origins and all(origin in self._origins for origin in origins):
            return origins[0]
        for origin in origins:
            if origin != own:
                raise _page_of(origin)
        if any(value not in HARMLESS_SITES for name, value in headers if name == b"sec-fetch-site"):
            raise not_admitted(
                403,
                "Web pages may not call this emulator, nor link to it. The browser's header Sec-Fetch-Site says that a "
                "page made this request. Type the address into the browser instead. If the page is your own, start the "
                "emulator with --allow-origin and the page's origin, such as --allow-origin http://localhost:3000.",
            )
        return b""

    def _is_ours_uncached(self, host: bytes, address: str) -> bool:
        match = AUTHORITY.fullmatch(host.decode("latin-1").lower())
        if match is None:
            raise not_admitted(400, f"The Host header is not HOST or HOST:PORT: {_shown(host)}.")
        name = match["literal"] or match["name"].removesuffix(".")
        literal = _literal(name)
        if literal is not None and (literal.is_loopback or literal == _literal(address)):
            return True
        if name in self._hosts or name.endswith(self._domains):
            return True
        if literal is not None or match["literal"]:
            return False
        return (
            name == "localhost"
            or name.endswith(".localhost")
            or name in ENGINE_NAMES
            or any(name.endswith(f".{domain}") for domain in AWS_DOMAINS)
        )

    def _warn(self, message: str) -> None:
        """Warn in the terminal as well, once: the browser shows a page's author only that there was an error."""
        if message not in self._warned and len(self._warned) < MOST_WARNINGS:
            self._warned.add(message)
            log.warning("Refused a request: %s", message)


def host_name(text: str) -> str:
    """What ``--allow-host`` takes: a name, ``*.NAME`` for all below it, or an address. Raises SetupError."""
    name = text.lower().removeprefix("[").removesuffix("]").removesuffix(".")
    literal = _literal(name)
    if literal is not None:
        return str(literal)
    if not HOST_NAME.fullmatch(name):
        raise SetupError(
            f"--allow-host takes a host's name without a port, such as localmme or *.example.test, not {text!r}."
        )
    return name


def origin(text: str) -> str:
    """What ``--allow-origin`` takes, as browsers write it. Raises SetupError."""
    found = text.lower().removesuffix("/")
    if not ORIGIN.fullmatch(found):
        raise SetupError(f"--allow-origin takes the origin of a web page, such as http://localhost:3000, not {text!r}.")
    scheme, _, rest = found.partition("://")
    return f"{scheme}://{rest.removesuffix(':' + DEFAULT_PORTS[scheme]) if scheme in DEFAULT_PORTS else rest}"


def is_address(text: str) -> bool:
    """Whether that is an IP address, not a name."""
    return _literal(text) is not None


def is_loopback(text: str) -> bool:
    """Whether only this machine itself reaches that address."""
    address = _literal(text)
    return address is not None and address.is_loopback


def _literal(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """An address; the IPv4 one of an IPv6 address that stands for one."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _origin_of(url: bytes) -> bytes:
    """The origin of a page's address; nothing if that is no address."""
    try:
        parts = urllib.parse.urlsplit(url.decode("latin-1"))
    except ValueError:
        return b""
    return f"{parts.scheme}://{parts.netloc}".lower().encode("latin-1")


def _not_ours(host: bytes) -> Denial:
    shown = _shown(host)
    name = urllib.parse.urlsplit(f"//{host.decode('latin-1')}").hostname or shown
    return not_admitted(
        403,
        f"The request is for the host {shown}, which is not known to be this emulator. If that name leads here, as in "
        f"a network of containers or through a forwarded port, start the emulator with --allow-host {name}.",
    )


def _page_of(origin: bytes) -> Denial:
    shown = _shown(origin)
    advice = (
        f"If that page is your own, start the emulator with --allow-origin {shown}."
        if ORIGIN.fullmatch(origin.decode("latin-1"))
        else "If the page is your own, serve it by HTTP, and start the emulator with --allow-origin and its origin."
    )
    return not_admitted(403, f"Web pages may not call this emulator, and one of {shown} does. {advice}")


def _shown(sent: bytes) -> str:
    """A caller's text, made safe for a terminal."""
    text = sent.decode("latin-1")
    text = text if len(text) <= TOLD_CHARACTERS else text[:TOLD_CHARACTERS] + "..."
    return "".join(letter if letter.isascii() and letter.isprintable() else "?" for letter in text) or "nothing"


def preflight(scope: Scope) -> Headers | None:
    """The answer to a browser's preflight for an allowed page; None for any other request.

    [Fetch standard, "CORS protocol"]
    """
    asked = {name: value for name, value in scope["headers"] if name.startswith(b"access-control-request-")}
    if scope["method"] != "OPTIONS" or b"access-control-request-method" not in asked:
        return None
    answer = [
        (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, DELETE"),
        (b"access-control-max-age", b"600"),
    ]
    if wanted := asked.get(b"access-control-request-headers"):
        answer.append((b"access-control-allow-headers", wanted))
    if asked.get(b"access-control-request-private-network") == b"true":
        answer.append((b"access-control-allow-private-network", b"true"))
    return answer
