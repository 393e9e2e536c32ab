"""Whether a runtime that somebody else runs sees a folder of this machine: a command that does nothing is run in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_BEGUN = "5s"  # what the command may take; who needs longer has got as far as starting it


def sees_folder(url: str, folder: Path, *, timeout: float, token: str | None = None) -> bool:
    """Tell whether the runtime at base URL `url` can work in `folder`. `timeout` seconds are for each of two requests, beyond 5 s.

    False only where it says clearly that there is no such folder. A service that answers anything else, or nothing, may be one
    that runs no commands, and is believed to see it.
    """
    import urllib3  # deferred, as in health.py

    headers = {"Authorization": f"Bearer {token}"} if token else {}
    task = {"execution": {"kind": "command", "program": "true", "cwd": str(folder)}, "limits": {"wall_time_ms": 5000}}
    tasks = f"{url}/api/v1/tasks"
    with urllib3.PoolManager(retries=False, headers=headers, timeout=timeout + 5) as pool:
        try:
            accepted = _object(pool.request("POST", tasks, json=task, headers={**headers, "Content-Type": "application/json"}).data)
            handle = accepted.get("handle_id")
            ended = _object(pool.request("GET", f"{tasks}/{handle}?wait={_BEGUN}").data) if isinstance(handle, str) else {}
        except urllib3.exceptions.HTTPError:
            return True
    error = ended.get("error")
    said = str(error.get("message")) if isinstance(error, dict) else ""
    return not (str(folder) in said and "no such file or directory" in said.lower())


def _object(body: bytes) -> dict[str, Any]:
    """Return the JSON object of an answer; {} for whatever else it is."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
