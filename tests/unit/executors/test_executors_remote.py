"""Whether a cluster can be used from here is found out in seconds, without one and without Metaflow."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from pytest_execgo.core.errors import MissingDependency, StackError, UsageError
from pytest_execgo.executors import remote
from pytest_execgo.plan.executor import ExecutionMode

COMPLETE = {
    "DEFAULT_DATASTORE": "s3",
    "DATASTORE_SYSROOT_S3": "s3://bucket/prefix",
    "DATASTORE_SYSROOT_AZURE": None,
    "DATASTORE_SYSROOT_GS": None,
    "S3_ENDPOINT_URL": None,
    "AZURE_STORAGE_BLOB_SERVICE_ENDPOINT": None,
    "BATCH_JOB_QUEUE": "queue",
}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Which addresses were tried; all of them answer."""
    addresses: list[tuple[str, int]] = []

    def connect(address: tuple[str, int], timeout: float) -> Any:
        addresses.append(address)
        return contextlib.nullcontext()

    monkeypatch.setattr(socket, "create_connection", connect)
    monkeypatch.setattr(remote, "installed", lambda name: True)
    return addresses


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets what Metaflow's configuration says."""

    def configure(**changes: Any) -> None:
        module = ModuleType("metaflow.metaflow_config")
        vars(module).update({**COMPLETE, **changes})
        monkeypatch.setitem(sys.modules, "metaflow.metaflow_config", module)

    configure()
    return configure


def cluster(host: str) -> dict[str, Any]:
    configuration = SimpleNamespace(get_default_copy=lambda: SimpleNamespace(host=host))
    client = SimpleNamespace(Configuration=configuration)
    return {"kubernetes.config": SimpleNamespace(load_config=lambda: None), "kubernetes.client": client}


@pytest.mark.parametrize(
    ("changes", "address"),
    [
        ({}, ("s3.amazonaws.com", 443)),
        ({"S3_ENDPOINT_URL": "http://minio:9000"}, ("minio", 9000)),
        ({"S3_ENDPOINT_URL": "http://minio"}, ("minio", 80)),
        ({"DEFAULT_DATASTORE": "gs", "DATASTORE_SYSROOT_GS": "gs://b"}, ("storage.googleapis.com", 443)),
        (
            {
                "DEFAULT_DATASTORE": "azure",
                "DATASTORE_SYSROOT_AZURE": "c/p",
                "AZURE_STORAGE_BLOB_SERVICE_ENDPOINT": "https://me.blob.core.windows.net/",
            },
            ("me.blob.core.windows.net", 443),
        ),
    ],
)
def test_the_object_store_is_tried(changes: Any, address: Any, configure: Any, asked: Any) -> None:
    configure(**changes)
    remote.check(ExecutionMode.BATCH)
    assert asked == [address]


def test_local_needs_nothing(asked: Any) -> None:
    remote.check(ExecutionMode.LOCAL)
    assert asked == []


@pytest.mark.parametrize(
    ("changes", "message", "hint"),
    [
        ({"DEFAULT_DATASTORE": "local"}, "'batch': the datastore is 'local'", "METAFLOW_DATASTORE_SYSROOT_S3"),
        ({"DATASTORE_SYSROOT_S3": None}, "the datastore 's3' has no root", "METAFLOW_DATASTORE_SYSROOT_S3"),
        ({"BATCH_JOB_QUEUE": None}, "no queue for AWS Batch", "METAFLOW_BATCH_JOB_QUEUE"),
    ],
)
def test_what_is_not_configured_is_said(changes: Any, message: str, hint: str, configure: Any, asked: Any) -> None:
    configure(**changes)
    with pytest.raises(UsageError, match=message) as caught:
        remote.check(ExecutionMode.BATCH)
    assert hint in caught.value.hint


def test_the_cluster_is_tried_too(configure: Any, asked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, module in cluster("https://10.0.0.1:6443").items():
        monkeypatch.setitem(sys.modules, name, module)
    remote.check(ExecutionMode.REMOTE)
    assert asked == [("s3.amazonaws.com", 443), ("10.0.0.1", 6443)]
    monkeypatch.setattr(sys.modules["kubernetes.config"], "load_config", lambda: 1 / 0)
    with pytest.raises(UsageError, match="there is no cluster to run in: division"):
        remote.check(ExecutionMode.REMOTE)


@pytest.mark.parametrize(("mode", "package"), [("batch", "boto3"), ("remote", "kubernetes")])
def test_a_missing_package_is_named(mode: str, package: str, configure: Any, asked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "installed", lambda name: name != package)
    with pytest.raises(MissingDependency) as caught:
        remote.check(ExecutionMode(mode))
    assert caught.value.hint == f"pip install {package}"


@pytest.fixture
def silence(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Connections neither come nor fail, as with a resolver that hangs."""
    release = threading.Event()

    def hang(address: Any, timeout: float) -> Any:
        release.wait(60)
        raise TimeoutError

    monkeypatch.setattr(socket, "create_connection", hang)
    monkeypatch.setattr(remote, "_PROBE", 0.05)
    yield
    release.set()


def test_silence_is_an_error_in_seconds(silence: None) -> None:
    with pytest.raises(StackError, match=r"the object store at minio:9000 can't be reached within 0\.05 s: it did not answer"):
        remote._reach("the object store", "http://minio:9000")


def test_a_refusal_is_an_error_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(address: Any, timeout: float) -> Any:
        raise ConnectionRefusedError("refused")

    monkeypatch.setattr(socket, "create_connection", refuse)
    with pytest.raises(StackError, match=r"the Kubernetes API at k:443 .*: refused"):
        remote._reach("the Kubernetes API", "https://k")
