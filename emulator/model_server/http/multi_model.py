"""The contract of a multi-model container: which path and method does what."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any
from urllib.parse import parse_qs

from emulator.model_server.http.connection import Request
from emulator.model_server.http.response import Response, bad_request
from emulator.model_server.http.server import Action, Server, invoke, ping
from emulator.model_server.workers.models import Models

_PAGE = 100  # models in one response to GET /models, unless ?limit=N is lower


class MultiModelServer(Server):
    """Serves the models of ``models``."""

    def __init__(self, models: Models) -> None:
        self._models = models

    async def prepare(self) -> None:
        await self._models.prepare()

    async def stop(self) -> None:
        await self._models.stop()

    def _actions(self, path: list[str]) -> dict[str, Action]:
        match path:
            case ["ping"]:
                return {"GET": ping}
            case ["models"]:
                return {"GET": self._list, "POST": self._load}
            case ["models", name] if name:
                return {"GET": lambda _: self._get(name), "DELETE": lambda _: self._unload(name)}
            case ["models", name, "invoke"] if name:
                return {"POST": lambda request: self._invoke(name, request)}
        return {}

    async def _load(self, request: Request) -> Response:
        try:
            parameters = json.loads(request.body)
        except ValueError as error:
            raise bad_request(f"The request body is not JSON: {error}") from None
        for key in ("model_name", "url"):
            if not isinstance(parameters, dict) or not isinstance(parameters.get(key), str) or not parameters[key]:
                raise bad_request(f"Parameter {key} is required.")
        await self._models.load(parameters["model_name"], parameters["url"])
        return Response.json({"status": f'Model "{parameters["model_name"]}" loaded'})

    async def _list(self, request: Request) -> Response:
        query = parse_qs(request.query)
        after = _name_of(query.get("next_page_token", [""])[0])
        limit = query.get("limit", [str(_PAGE)])[0]
        if not (limit.isdecimal() and int(limit)):
            raise bad_request(f"limit must be a number of models, not {limit!r}.")
        models, more = self._models.page(after, min(int(limit), _PAGE))
        listing: dict[str, Any] = {"models": [{"modelName": model.name, "modelUrl": model.url} for model in models]}
        if more:
            listing["nextPageToken"] = _token_of(models[-1].name)
        return Response.json(listing)

    async def _get(self, name: str) -> Response:
        model = self._models.get(name)
        return Response.json({"modelName": model.name, "modelUrl": model.url})

    async def _invoke(self, name: str, request: Request) -> Response:
        return await invoke(await self._models.current(name), request)

    async def _unload(self, name: str) -> Response:
        await self._models.unload(name)
        return Response.json({"status": f'Model "{name}" unloaded'})


# A page's token is the name of the last model before it. So it stays valid whatever is loaded or unloaded.


def _token_of(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).decode().rstrip("=")


def _name_of(token: str) -> str:
    try:
        return base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise bad_request(f"{token!r} is not a next_page_token of this server.") from None
