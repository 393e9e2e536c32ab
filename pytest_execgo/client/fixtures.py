"""A client for the fixtures service: the effect sink as evidence, and the control plane."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import requests

from pytest_execgo.client.transport import cause
from pytest_execgo.core.errors import StackError, UsageError

_HINT = "is the fixtures service up?"


class FixturesClient:
    """The fixtures service at a base URL; `token` is for its control plane, `timeout` (seconds) bounds each request.

    The control plane has a connection of its own, so that a fault may be set or lifted while another thread reads the sink.
    """

    def __init__(self, url: str, *, token: str | None = None, timeout: float = 10.0) -> None:
        self.url = url.rstrip("/")
        self._timeout = timeout
        self._sink = _session(None)
        self._control = _session(token)

    def close(self) -> None:
        """Close the connections."""
        self._sink.close()
        self._control.close()

    def applied_effects(self, run: str | None = None) -> int:
        """Return how many effects the sink has applied since it was reset: all, or those whose key begins with `run`."""
        return len(self._listed("/effects", "effects", run))

    def deliveries(self, run: str | None = None) -> list[dict[str, Any]]:
        """Return every delivery that the sink logged since it was reset, in order: all, or those whose key begins with `run`.

        Each holds `sequence`, `boot_id`, `received_ns`, `monotonic_ns`, `wall_ns`, `key`, `kind`, `digest`, `outcome` (applied,
        repeated, conflict, fenced), `effect_id`, and `task` and `token` as its sender gave them, or None.
        """
        return self._listed("/effects/deliveries", "deliveries", run)

    def set_mode(self, mode: Mapping[str, Any]) -> None:
        """Replace the mode (see `fixtures_service/faults.py`); `UsageError` when the service refuses it."""
        self._mode("PUT", json=dict(mode))

    def hits(self) -> Mapping[str, int]:
        """Return how many requests have suffered since the mode was set: `latency`, `error`, `inject`."""
        hits: dict[str, int] = self._mode("GET")["hits"]
        return hits

    def set_model(self, order: Mapping[str, Any]) -> None:
        """Order a fault of the scripted model (see `fixtures_service/model/faults.py`); `UsageError` when it is refused."""
        self._model("PUT", json=dict(order))

    def model_hits(self) -> Mapping[str, int]:
        """Return how many of the model's answers have suffered since the order: `planner`, `reviewer`."""
        hits: dict[str, int] = self._model("GET")["hits"]
        return hits

    def _listed(self, path: str, name: str, run: str | None) -> list[dict[str, Any]]:
        try:
            response = self._sink.get(self.url + path, params={"run": run} if run else None, timeout=self._timeout)
            response.raise_for_status()
            found = response.json()[name]
            if not isinstance(found, list):
                raise ValueError(f"{name} is no list")
        except (requests.RequestException, KeyError, TypeError, ValueError) as error:
            said = f"the effect sink at {self.url}{path} did not answer: {cause(error)}"
            raise StackError("fixtures_unreachable", said, _HINT) from error
        return found

    def _mode(self, method: str, **body: Any) -> dict[str, Any]:
        return self._controlled(method, "/control/mode", "bad_mode", **body)

    def _model(self, method: str, **body: Any) -> dict[str, Any]:
        return self._controlled(method, "/control/model", "bad_model_fault", **body)

    def _controlled(self, method: str, path: str, refused: str, **body: Any) -> dict[str, Any]:
        """Ask the control plane; `refused` is the code of what it refuses."""
        try:
            response = self._control.request(method, self.url + path, timeout=self._timeout, **body)
            answer = response.json()
            if response.status_code == requests.codes.bad_request:
                raise UsageError(
                    refused, f"the fixtures service refuses the {path.rpartition('/')[2]}: {answer['error']['message']}"
                )
            response.raise_for_status()
            if not isinstance(answer["hits"], dict):
                raise ValueError("hits is no object")
        except (requests.RequestException, KeyError, TypeError, ValueError) as error:
            said = f"the control plane at {self.url}{path} did not answer: {cause(error)}"
            raise StackError("fixtures_unreachable", said, _HINT) from error
        return dict(answer)


def _session(token: str | None) -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    if token:
        session.headers["Authorization"] = f"Bearer {token}"
    return session
