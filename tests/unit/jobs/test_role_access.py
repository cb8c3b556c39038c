"""A job reads and stores what its execution role may read and store, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from emulator.archives.model_data_url import LocalS3, S3Url
from emulator.aws.permissions import RequiredPermission
from emulator.aws.sessions import Sessions
from emulator.gateway.access.iam_policy import of_statements
from emulator.gateway.access.roles import Role, trust_of_document
from emulator.hosting.execution_roles import ExecutionRoles
from emulator.jobs.artifacts import Artifacts
from emulator.jobs.channels import download
from emulator.jobs.checkpoints import Checkpoints
from emulator.jobs.errors import JobFailed
from emulator.jobs.role_access import RoleAccess
from emulator.jobs.training_definition import Channel
from emulator.jobs.transform_output import TransformOutput
from emulator.storage.object_store import ObjectStore, open_store
from tests.support.role_access import EVERYTHING

TRUST = {
    "Statement": {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
}
MINE = [
    {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::mine",
     "Condition": {"StringLike": {"s3:prefix": "${aws:PrincipalTag/folder}/*"}}},
    {"Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject"], "Resource": "arn:aws:s3:::mine/*"},
]  # fmt: skip


def refuse(place: object, message: str) -> None:
    raise AssertionError(f"{place} {message}")


def role_access(trusts: bool = True) -> RoleAccess:
    """Of a role that may use the bucket ``mine`` only, and list one folder of it."""
    role = Role(
        "r",
        tuple(trust_of_document(TRUST, (), refuse)) if trusts else (),
        tuple(of_statements(MINE, (), refuse)),
        tags=(("folder", "data"),),
    )

    def allows(arn: str, ask: RequiredPermission) -> bool:
        return arn == role.arn and role.allows(ask)

    sessions = Sessions(lambda: 0.0)
    return RoleAccess(ExecutionRoles(sessions, "us-east-1", "", lambda _: trusts, allows), role.arn, "us-east-1")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ObjectStore]:
    for bucket in ("mine", "theirs"):
        (tmp_path / bucket / "data").mkdir(parents=True)
        (tmp_path / bucket / "data" / "a").write_text(bucket)
    manifest = [{"prefix": "s3://theirs/data/"}, "a"]
    (tmp_path / "mine" / "data" / "m").write_text(json.dumps(manifest))
    store = open_store(tmp_path, "us-east-1")
    yield store
    store.close()


def channel(store: ObjectStore, bucket: str, key: str, data_type: str = "S3Prefix") -> Channel:
    return Channel("train", LocalS3(store.root / bucket, S3Url(bucket, key)), data_type, {})  # type: ignore[arg-type]


def read(bucket: str, key: str, data_type: str = "S3Prefix") -> Callable[[ObjectStore, RoleAccess, Path], object]:
    return lambda store, access, path: download(channel(store, bucket, key, data_type), access, path / "data", 1000)


def write(bucket: str) -> Callable[[ObjectStore, RoleAccess, Path], object]:
    return lambda store, access, _: Artifacts(store, access, 1000, print)._put(S3Url(bucket, "new"), [b"x"])


def restore(bucket: str) -> Callable[[ObjectStore, RoleAccess, Path], object]:
    def restore(store: ObjectStore, access: RoleAccess, path: Path) -> None:
        artifacts = Artifacts(store, access, 1000, print)
        Checkpoints(store, access, artifacts, S3Url(bucket, "data/")).restore(path)

    return restore


def transform(bucket: str) -> Callable[[ObjectStore, RoleAccess, Path], object]:
    return lambda store, access, _: TransformOutput(store, access, S3Url(bucket, "out/"), "a.out", "a").store()


ALLOWED = [read("mine", "data/"), write("mine"), restore("mine"), transform("mine")]
REFUSED = [
    (read("theirs", "data/"), "s3:ListBucket on arn:aws:s3:::theirs"),
    (read("mine", "other/"), "s3:ListBucket on arn:aws:s3:::mine"),
    (read("mine", "data/m", "ManifestFile"), "s3:GetObject on arn:aws:s3:::theirs/data/a"),
    (read("theirs", "data/m", "ManifestFile"), "s3:GetObject on arn:aws:s3:::theirs/data/m"),
    (write("theirs"), "s3:PutObject on arn:aws:s3:::theirs/new"),
    (restore("theirs"), "s3:ListBucket on arn:aws:s3:::theirs"),
    (transform("theirs"), "s3:PutObject on arn:aws:s3:::theirs/out/a.out"),
]


@pytest.mark.parametrize("access", [role_access(), EVERYTHING], ids=["role", "no access control"])
def test_what_the_role_may_do_is_done(store: ObjectStore, access: RoleAccess, tmp_path: Path) -> None:
    for number, work in enumerate(ALLOWED):
        work(store, access, tmp_path / str(number))


@pytest.mark.parametrize(("work", "what"), REFUSED, ids=[what for _, what in REFUSED])
def test_what_the_role_may_not_do_fails_the_job(
    store: ObjectStore, work: Callable[[ObjectStore, RoleAccess, Path], object], what: str, tmp_path: Path
) -> None:
    with pytest.raises(JobFailed) as failed:
        work(store, role_access(), tmp_path / "new")
    role = "arn:aws:iam::123456789012:role/r"
    assert str(failed.value).endswith(f"AccessDenied (403): the execution role {role} may not {what}")
    assert store.entry_if_any("theirs", "new") is None and store.entry_if_any("theirs", "out/a.out") is None


def test_a_role_that_does_not_trust_sagemaker_may_do_nothing(store: ObjectStore, tmp_path: Path) -> None:
    for work in ALLOWED:
        with pytest.raises(JobFailed, match="AccessDenied"):
            work(store, role_access(trusts=False), tmp_path / "new")
