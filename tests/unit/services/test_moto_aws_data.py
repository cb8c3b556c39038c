"""What moto reads of the user's configuration: nothing."""

from __future__ import annotations

from pathlib import Path

import moto.core.utils
import pytest
from moto.core.base_backend import AccountSpecificBackend
from moto.ecr.models import ECRBackend

from emulator.services.moto_services import aws_data


def test_a_profile_that_does_not_exist_is_not_looked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "config").write_text("not a configuration")
    monkeypatch.setenv("AWS_PROFILE", "there-is-none")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    aws_data.install()
    aws_data._boto3_session.cache_clear()
    regions = AccountSpecificBackend("ecr", "123456789012", ECRBackend, True, None).regions
    assert {"us-east-1", "cn-north-1"} <= set(regions)
    assert moto.core.utils.service_name_from_moto_package_name.__wrapped__("applicationautoscaling") == (
        "application-autoscaling"
    )
