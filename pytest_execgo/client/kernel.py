"""A client for any ExecGo-compatible kernel (seed 004)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

import requests

from pytest_execgo.client.transport import cause
from pytest_execgo.core.errors import ExecGoError
from pytest_execgo.core.jsonio import loads


class KernelUnreachable(ExecGoError):
    """The kernel did not answer: refused, reset, timed out."""


class KernelRefused(ExecGoError):
    """The kernel answered with an error; `status_code` is HTTP's."""

    def __init__(self, code: str, message: str, hint: str = "", status_code: int = 0) -> None:
        super().__init__(code, message, hint)
        self.status_code = status_code


@dataclass(frozen=True, slots=True)
class Waited:
    """Answer to a wait: whether it is over (or only its time), the envelope of each task, the ids that have no task."""

    done: bool
    tasks: list[dict[str, Any]]
    missing: list[str]


_WAIT_GRACE = 4.0  # seconds that the answer to a wait may come late: a way that swallows it must not cost much more
_CANCEL_TIMEOUT = 5.0


class KernelClient:
    """One keep-alive connection to a kernel. `timeout` (seconds) bounds each request."""

    def __init__(self, url: str, token: str | None = None, *, timeout: float = 30.0) -> None:
        self.url = url.rstrip("/")
        self._timeout = timeout
        self._session = requests.Session()
        self._capabilities: frozenset[str] | None = None
        self._session.trust_env = False  # a proxy of the user's must not see, or break, loopback traffic
        if token:
            self._session.headers["Authorization"] = f"Bearer {token}"

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def submit(self, tasks: Sequence[Mapping[str, Any]]) -> list[str]:
        """POST a task graph; return the ids that were accepted. `KernelRefused` carries the kernel's own words."""
        answer = self._call("POST", "/tasks", {"tasks": list(tasks)})
        return [str(task_id) for task_id in answer.get("task_ids", [])]

    def task(self, task_id: str) -> dict[str, Any]:
        """GET one task's envelope."""
        return self._call("GET", f"/tasks/{_segment(task_id)}")

    def delete(self, task_id: str) -> None:
        """DELETE one task's record."""
        self._call("DELETE", f"/tasks/{_segment(task_id)}")

    def health(self) -> dict[str, Any]:
        """GET /health."""
        return self._call("GET", "/health")

    def capabilities(self) -> frozenset[str]:
        """Return what the kernel can beyond ExecGo ("wait", "cancel" ...), as its /health says; it is asked once.

        One that is in trouble (5xx) has none for now, and is asked again.
        """
        if self._capabilities is None:
            try:
                said = self.health().get("capabilities")
            except KernelRefused as refused:
                if refused.status_code >= 500:
                    return frozenset()
                said = None  # whatever it is that answers like that, it has no extensions of ours
            self._capabilities = frozenset(map(str, said)) if isinstance(said, list) else frozenset()
        return self._capabilities

    def wait(self, task_ids: Sequence[str], timeout: float, *, until: Literal["all", "any"] = "all") -> Waited:
        """POST /tasks/wait: return when the tasks have ended, or after `timeout` seconds. Needs the capability "wait"."""
        body = {"task_ids": list(task_ids), "timeout": f"{max(0, round(timeout * 1000))}ms", "until": until}
        answer = self._call("POST", "/tasks/wait", body, timeout=timeout + min(self._timeout, _WAIT_GRACE))
        try:
            return Waited(bool(answer["done"]), [dict(task) for task in answer["tasks"]], list(answer["missing"]))
        except (KeyError, TypeError, ValueError) as error:
            raise KernelRefused("bad_answer", f"POST /tasks/wait: the answer can't be used: {error!r}") from error

    def cancel(self, task_id: str) -> dict[str, Any]:
        """POST /tasks/{id}/cancel; return the task's envelope. Needs the capability "cancel"."""
        return self._call("POST", f"/tasks/{_segment(task_id)}/cancel", timeout=min(self._timeout, _CANCEL_TIMEOUT))

    def history(self, after: int = 0) -> tuple[list[dict[str, Any]], int]:
        """GET /history: what the kernel has noted from a place on, and the place behind it. Needs the capability "history"."""
        answer = self._call("GET", f"/history?after={after}")
        try:
            return [dict(event) for event in answer["events"]], int(answer["next"])
        except (KeyError, TypeError, ValueError) as error:
            raise KernelRefused("bad_answer", f"GET /history: the answer can't be used: {error!r}") from error

    def metrics(self) -> dict[str, Any]:
        """GET /metrics (JSON)."""
        return self._call("GET", "/metrics")

    def _call(self, method: str, path: str, body: Any = None, *, timeout: float | None = None) -> dict[str, Any]:
        response = self._send(method, self.url + path, body, timeout or self._timeout)
        if response.status_code == 204:
            return {}
        try:
            answer = loads(response.content)
        except ValueError as error:
            begin = response.content[:200].decode("utf-8", "replace")
            what = f"{method} {path}: status {response.status_code}, no usable JSON ({error}): {begin!r}"
            raise KernelRefused("bad_answer", what, status_code=response.status_code) from error
        if response.status_code >= 400:
            raise KernelRefused("refused", _said(answer), status_code=response.status_code)
        if not isinstance(answer, dict):
            raise KernelRefused("bad_answer", f"{method} {path}: expected a JSON object", status_code=response.status_code)
        return answer

    def _send(self, method: str, url: str, body: Any, timeout: float) -> requests.Response:
        try:
            request = self._session.prepare_request(requests.Request(method, url, json=body))
            request.url = url  # as it stands: requests would decode %2E, and a server would take `..` for its parent
            return self._session.send(request, timeout=timeout, allow_redirects=False)
        except requests.RequestException as error:
            raise KernelUnreachable("kernel_unreachable", f"{method} {url}: {cause(error)}") from error


def _segment(task_id: str) -> str:
    """Encode an id as one path segment; `.` and `..` would be swallowed by URL normalisation, so dots are encoded there."""
    encoded = quote(task_id, safe="")
    return encoded.replace(".", "%2E") if encoded in (".", "..") else encoded


def _said(answer: Any) -> str:
    """Return the message of an error's body: `{"error": "…"}`, or `{"error": {"message": "…"}}`."""
    error = answer.get("error", answer) if isinstance(answer, dict) else answer
    return str(error.get("message", error) if isinstance(error, dict) else error)
