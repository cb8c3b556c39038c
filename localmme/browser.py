"""The emulator's page in the user's browser, which is logged in where the emulator asks for that."""

from __future__ import annotations

import os
import sys
import urllib.error
import webbrowser

from emulator.errors import SetupError
from localmme.emulator_client import health
from localmme.pages import PATH, page_login

NO_LOGIN = 400  # the answer of an emulator that asks nobody who they are


def show(url: str) -> None:
    """Open the page of the emulator at ``url``, and print its address; where no browser is to be seen, only print it.

    With an access file, a printed address has a login in it, which is good once, and for a minute. Raises SetupError
    when no emulator answers, and PageRefused when it does not show its page to the user.
    """
    health(url)
    plain = url.rstrip("/") + PATH
    address = _logged_in(url.rstrip("/")) or plain
    print(plain if _has_browser() and webbrowser.open(address) else address, flush=True)


def _logged_in(url: str) -> str | None:
    """The address with which a browser logs in; None where it need not."""
    try:
        return url + page_login(url)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == NO_LOGIN:
                return None
        raise SetupError(f"The emulator at {url} has no login: {error}.") from None
    except OSError as error:
        raise SetupError(f"The emulator at {url} does not answer: {error}.") from None


def _has_browser() -> bool:
    """Whether one that is opened would be seen: by this user, at this machine."""
    if os.environ.get("BROWSER"):  # also over ssh: an editor that is connected so opens one at its own end
        return True
    if os.environ.get("SSH_CONNECTION"):
        return False
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
