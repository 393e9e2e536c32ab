"""What is asked of a runtime service directly: which sandboxes it has. Everything else goes through the kernel."""

from __future__ import annotations

import requests

from pytest_execgo.client.transport import cause
from pytest_execgo.core.errors import StackError
from pytest_execgo.core.jsonio import loads
from pytest_execgo.plan.sandbox import SandboxMode

_UNKNOWN = "the runtime service knows no sandboxes; use a runtime of this project"


def sandbox_problem(url: str, mode: SandboxMode, token: str | None = None, *, timeout: float = 60.0) -> str | None:
    """Say why commands can't be run in a sandbox by the runtime at a base URL, and what to do about it; None when they can.

    The runtime tries the mode the first time that it is asked. `StackError` when it does not answer within `timeout` seconds, or
    is in trouble.
    """
    where = f"{url.rstrip('/')}/api/v1/runtime/sandboxes/{mode}"
    with requests.Session() as session:
        session.trust_env = False  # a proxy of the user's must not see, or break, loopback traffic
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            response = session.get(where, headers=headers, timeout=timeout, allow_redirects=False)
        except requests.RequestException as error:
            raise StackError("runtime_unreachable", f"GET {where}: {cause(error)}", "is the runtime service up?") from error
    if response.status_code >= 500:
        raise StackError("runtime_unreachable", f"GET {where}: status {response.status_code}", "look into its log")
    try:
        said = loads(response.content)
    except ValueError:
        said = None
    if response.status_code != 200 or not isinstance(said, dict) or not isinstance(said.get("available"), bool):
        return _UNKNOWN
    return None if said["available"] else str(said.get("reason") or "the runtime service does not say why")
