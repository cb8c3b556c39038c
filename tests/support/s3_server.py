"""An emulator with S3 and no endpoint: ``python -m tests.support.s3_server ROOT STATE`` prints its address."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

from emulator.limits import Limits
from emulator.server.gunicorn_app import serve
from emulator.server.settings import ServerSettings
from emulator.services.sagemaker.start_requests import StartRequests
from emulator.state_directory import StateDirectory

root, state = (Path(argument) for argument in sys.argv[1:])
listener = socket.create_server(("127.0.0.1", 0))
listener.set_inheritable(True)
url = f"http://127.0.0.1:{listener.getsockname()[1]}"
print(url, flush=True)
state.mkdir(parents=True, exist_ok=True)
serve(ServerSettings(listener, url, StateDirectory(state), s3_root=root), StartRequests(), Limits())
