"""What ``localmme ps`` shows in a terminal."""

from __future__ import annotations

import pytest

from localmme import background


def test_the_table_of_emulators_fits_into_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    background.print_running(
        [
            {
                "name": "houses",
                "url": "http://127.0.0.1:40123",
                "endpoints": [{"endpoint_name": "local", "status": "InService"}],
                "since": "2030-01-01T12:34:56+00:00",
                "pid": 1234567,
            }
        ]
    )
    [row] = [line.split() for line in capsys.readouterr().out.splitlines() if "houses" in line]
    assert row == ["houses", "http://127.0.0.1:40123", "local", "InService", "2030-01-01T12:34Z", "1234567"]
