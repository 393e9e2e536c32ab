"""Whether flows can run in a cluster from here, found out in seconds: Metaflow itself would try for minutes.

Imported in a flow's own process only; the configuration is what Metaflow makes of its files and variables.
"""

from __future__ import annotations

import socket
import threading
from typing import Any
from urllib.parse import urlsplit

from pytest_execgo.core.errors import MissingDependency, StackError, UsageError
from pytest_execgo.core.optional import installed, require
from pytest_execgo.plan.executor import ExecutionMode

_PROBE = 3.0  # seconds for one endpoint, its name's resolution included
_PORTS = {"http": 80, "https": 443}


def check(mode: ExecutionMode) -> None:
    """Return if the mode's configuration is complete and its endpoints take connections.

    `UsageError` for what is not configured, `MissingDependency` for a package, `StackError` for an endpoint that doesn't answer.
    """
    if mode is ExecutionMode.LOCAL:
        return
    config = require("metaflow.metaflow_config", "metaflow")
    _reach("the object store", _object_store(config, mode))
    if mode is ExecutionMode.BATCH:
        if not config.BATCH_JOB_QUEUE:
            raise _lacking(mode, "no queue for AWS Batch", "set METAFLOW_BATCH_JOB_QUEUE")
        return
    if not installed("kubernetes"):
        raise MissingDependency("package_missing", "kubernetes is not installed", "pip install kubernetes")
    _reach("the Kubernetes API", _cluster())


def _object_store(config: Any, mode: ExecutionMode) -> str:
    """Return the endpoint of the datastore that tasks in a cluster share with this machine."""
    kind = config.DEFAULT_DATASTORE
    roots = {"s3": config.DATASTORE_SYSROOT_S3, "azure": config.DATASTORE_SYSROOT_AZURE, "gs": config.DATASTORE_SYSROOT_GS}
    if kind not in roots:
        raise _lacking(
            mode,
            f"the datastore is {kind!r}, which tasks in a cluster can't reach",
            "set METAFLOW_DEFAULT_DATASTORE=s3 and METAFLOW_DATASTORE_SYSROOT_S3=s3://BUCKET/PREFIX",
        )
    if not roots[kind]:
        raise _lacking(mode, f"the datastore {kind!r} has no root", f"set METAFLOW_DATASTORE_SYSROOT_{kind.upper()}")
    if kind == "azure":
        return str(config.AZURE_STORAGE_BLOB_SERVICE_ENDPOINT or "https://blob.core.windows.net")
    if kind == "gs":
        return "https://storage.googleapis.com"
    if not installed("boto3"):
        raise MissingDependency("package_missing", "boto3 is not installed", "pip install boto3")
    return str(config.S3_ENDPOINT_URL or "https://s3.amazonaws.com")


def _cluster() -> str:
    settings = require("kubernetes.config", "metaflow")
    client = require("kubernetes.client", "metaflow")
    try:
        settings.load_config()
    except Exception as error:  # its own, and whatever a malformed file makes it raise
        raise UsageError("cluster_not_configured", f"there is no cluster to run in: {error}", "set KUBECONFIG") from error
    return str(client.Configuration.get_default_copy().host)


def _lacking(mode: ExecutionMode, what: str, hint: str) -> UsageError:
    return UsageError("mode_not_configured", f"flows can't run in mode {mode.value!r}: {what}", hint)


def _reach(what: str, url: str) -> None:
    """Open a connection to where a URL points, or raise `StackError`."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 443)
    said = ["it did not answer"]

    def connect() -> None:
        try:
            with socket.create_connection((host, port), timeout=_PROBE):
                said.clear()
        except OSError as error:
            said[:] = [str(error)]

    probe = threading.Thread(target=connect, daemon=True)  # resolving a name takes no timeout
    probe.start()
    probe.join(_PROBE)
    if said:
        raise StackError(
            "endpoint_unreachable", f"{what} at {host}:{port} can't be reached within {_PROBE:g} s: {said[0]}", f"check {url}"
        )
