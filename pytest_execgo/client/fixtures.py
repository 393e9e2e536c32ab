"""A client for the fixtures service, as far as the runner needs it."""

from __future__ import annotations

import requests

from pytest_execgo.client.transport import cause
from pytest_execgo.core.errors import StackError


class FixturesClient:
    """One keep-alive connection to a fixtures service. `timeout` (seconds) bounds each request."""

    def __init__(self, url: str, *, timeout: float = 10.0) -> None:
        self.url = url.rstrip("/")
        self._timeout = timeout
        self._session = requests.Session()
        self._session.trust_env = False

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def applied_effects(self, run: str | None = None) -> int:
        """Return how many effects the sink has applied since it was reset: all, or those whose key begins with `run`."""
        try:
            response = self._session.get(f"{self.url}/effects", params={"run": run} if run else None, timeout=self._timeout)
            response.raise_for_status()
            return len(response.json()["effects"])
        except (requests.RequestException, KeyError, TypeError, ValueError) as error:
            raise StackError(
                "fixtures_unreachable",
                f"the effect sink at {self.url}/effects did not answer: {cause(error)}",
                "is the fixtures service up?",
            ) from error
