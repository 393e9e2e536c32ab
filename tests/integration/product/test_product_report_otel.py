"""Traces on their way to a collector: at the end of a sweep, later by hand, and where there is nobody to take them."""

from __future__ import annotations

import gzip
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="pip install 'pytest-execgo[otel]'")

GOLDEN = Path(__file__).parents[2] / "data" / "golden_sweep" / "runs"
SWEEP = ["--execgo-matrix", "--execgo-scenario=multi_step_agent"]


class Collector:
    """Takes OTLP over HTTP, and remembers every span; `status` is what it answers."""

    def __init__(self) -> None:
        self.status = 200
        self.spans: list[Any] = []
        self.resources: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.headers.append({name.lower(): value for name, value in self.headers.items()})
                if self.path == "/v1/traces" and collector.status == 200:
                    collector.take(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
                self.send_response(collector.status if self.path == "/v1/traces" else 404)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def take(self, body: bytes) -> None:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        request = ExportTraceServiceRequest.FromString(body)
        for resource in request.resource_spans:
            self.resources.append(values(resource.resource.attributes))
            self.spans += [span for scope in resource.scope_spans for span in scope.spans]

    def roots(self) -> dict[str, Any]:
        """The spans of whole runs, by run."""
        return {values(span.attributes)["execgo.run_id"]: span for span in self.spans if not span.parent_span_id}


def values(attributes: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in attributes}


@pytest.fixture
def collector() -> Iterator[Collector]:
    found = Collector()
    thread = threading.Thread(target=found.server.serve_forever)
    thread.start()
    yield found
    found.server.shutdown()
    thread.join()
    found.server.server_close()


@pytest.fixture
def nobody() -> Iterator[str]:
    """Give the URL of a port that is taken, and on which nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"


def call(*words: object, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *map(str, words)]
    env = {**{name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}, **environment}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=180, check=False)


def report(*words: object, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return call("pytest_execgo", "report", *words, folder=folder, **environment)


@pytest.mark.parametrize("mode", [["-p", "no:xdist"], ["-n", "2"]], ids=["alone", "xdist"])
def test_a_sweep_sends_its_runs_when_it_is_over(tmp_path: Path, collector: Collector, mode: list[str]) -> None:
    words = [*SWEEP, "--execgo-framework=crewai,autogen", f"--execgo-otel={collector.url}", "--execgo-trace"]
    finished = call("pytest", *words, *mode, folder=tmp_path)
    assert finished.returncode == 0, finished.stdout
    assert f"traces: {len(collector.spans)} spans sent to {collector.url}" in finished.stdout
    folders = {path.parent.name for path in tmp_path.glob("var/runs/*/result.json")}
    assert collector.roots().keys() == folders
    assert len(folders) == 2
    assert {values(root.attributes)["execgo.framework"] for root in collector.roots().values()} == {"crewai", "autogen"}
    assert all(resource["service.name"] == "pytest-execgo" for resource in collector.resources)
    assert {path.parent.name for path in tmp_path.glob("var/runs/*/trace.json")} == folders
    before = {span.span_id: span.SerializeToString(deterministic=True) for span in collector.spans}
    collector.spans.clear()
    later = report("otel", "var/runs", "--endpoint", collector.url, folder=tmp_path)
    assert later.returncode == 0, later.stderr
    assert later.stdout == f"{len(before)} spans of 2 runs sent to {collector.url}\n"
    assert {span.span_id: span.SerializeToString(deterministic=True) for span in collector.spans} == before


def test_what_arrives_of_a_run(tmp_path: Path, collector: Collector) -> None:
    from opentelemetry.proto.trace.v1.trace_pb2 import Status

    shutil.copytree(GOLDEN, tmp_path / "runs")
    finished = report("otel", "runs", folder=tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
    assert finished.returncode == 0, finished.stderr
    roots = collector.roots()
    assert len(roots) == 4
    ends = {values(root.attributes)["execgo.outcome"]: root.status.code for root in roots.values()}
    assert ends == {"passed": Status.STATUS_CODE_OK, "failed": Status.STATUS_CODE_ERROR}
    for root in roots.values():
        mine = [span for span in collector.spans if span.trace_id == root.trace_id]
        ids = {span.span_id for span in mine}
        assert all(span.parent_span_id in ids for span in mine if span is not root)
        tasks = [span for span in mine if values(span.attributes)["execgo.kind"] == "task"]
        assert {values(span.attributes)["execgo.task_id"] for span in tasks} >= {"draft", "note", "announce"}
        assert all(link.span_id in {span.span_id for span in tasks} for span in tasks for link in span.links)
        assert root.start_time_unix_nano <= min(span.start_time_unix_nano for span in mine)
        assert root.end_time_unix_nano >= max(span.end_time_unix_nano for span in mine)


def test_one_run_with_headers_of_the_standard_variables(tmp_path: Path, collector: Collector) -> None:
    run = next(GOLDEN.glob("*/result.json")).parent
    headers = {"OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20x", "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip"}
    finished = report("otel", run, "--endpoint", collector.url, folder=tmp_path, **headers)
    assert finished.returncode == 0, finished.stderr
    assert collector.roots().keys() == {run.name}
    assert collector.headers[0]["authorization"] == "Bearer x"
    assert collector.headers[0]["content-encoding"] == "gzip"


def test_a_sweep_does_not_mind_that_nobody_listens(tmp_path: Path, nobody: str) -> None:
    words = [*SWEEP, "--execgo-framework=crewai", f"--execgo-otel={nobody}"]
    finished = call("pytest", *words, folder=tmp_path, OTEL_EXPORTER_OTLP_TIMEOUT="3")
    assert finished.returncode == 0, finished.stdout
    assert "1 passed" in finished.stdout
    warnings = [line for line in (finished.stdout + finished.stderr).splitlines() if "warning" in line or "Transient" in line]
    assert warnings == [f"warning: spans could not be sent to {nobody}/v1/traces: Connection refused"]


def test_nobody_listens_when_runs_are_sent_by_hand(tmp_path: Path, nobody: str) -> None:
    finished = report("otel", GOLDEN, "--endpoint", nobody, folder=tmp_path, OTEL_EXPORTER_OTLP_TIMEOUT="3")
    assert finished.returncode == 3
    assert finished.stdout == ""
    expected = [
        f"error: spans could not be sent to {nobody}/v1/traces: Connection refused",
        "  hint: is a collector listening there?",
    ]
    assert finished.stderr.splitlines() == expected


def test_a_collector_that_refuses(tmp_path: Path, collector: Collector) -> None:
    collector.status = 401
    words = ["--scenario", "multi_step_agent", "--framework", "crewai", "--otel", collector.url]
    finished = call("pytest_execgo", "benchmark", *words, folder=tmp_path)
    assert finished.returncode == 0, finished.stderr
    (warning,) = [line for line in finished.stdout.splitlines() if line.startswith("warning")]
    assert warning.startswith(
        f"warning: spans could not be sent to {collector.url}/v1/traces: Failed to export spans batch code: 401"
    )
    assert not collector.spans


def test_without_the_extra(tmp_path: Path) -> None:
    (tmp_path / "opentelemetry").mkdir()
    (tmp_path / "opentelemetry" / "__init__.py").touch()  # stands before the real one
    said = "opentelemetry.sdk is not installed"
    by_hand = report("otel", GOLDEN, folder=tmp_path, PYTHONPATH=str(tmp_path))
    assert by_hand.returncode == 3
    assert by_hand.stderr == f"error: {said}\n  hint: pip install 'pytest-execgo[otel]'\n"
    words = ["--execgo-matrix", "--execgo-otel=http://localhost:4318"]
    sweep = call("pytest", *words, folder=tmp_path, PYTHONPATH=str(tmp_path))
    assert sweep.returncode == 4
    assert f"ERROR: --execgo-otel: {said}\n  hint: pip install 'pytest-execgo[otel]'" in sweep.stdout + sweep.stderr
    assert "Traceback" not in sweep.stdout + sweep.stderr
