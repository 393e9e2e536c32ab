"""Asks a service over HTTP whether it is ready."""

from __future__ import annotations

from typing import Final

from pytest_execgo.plan.stack import Service

HEALTH_PATHS: Final = {Service.KERNEL: "/health", Service.RUNTIME: "/readyz", Service.FIXTURES: "/health"}


def health_problem(service: Service, url: str, *, timeout: float, token: str | None = None) -> str | None:
    """Return what is wrong with the service at base URL `url`, or None if it answers 200 within `timeout` seconds.

    Goes straight to the service: proxies of the environment are not for a stack.
    """
    import urllib3  # deferred: 40 ms that a stack with announced readiness doesn't need

    address = url + HEALTH_PATHS[service]
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with urllib3.PoolManager(retries=False, timeout=timeout) as pool:
        try:
            answer = pool.request("GET", address, headers=headers)
        except urllib3.exceptions.HTTPError as error:
            return f"GET {address}: {error}"
    return None if answer.status == 200 else f"GET {address} answered {answer.status}"
