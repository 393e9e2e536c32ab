"""What our kernel promises beyond ExecGo's contract, which tests/contract/kernel has."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


def test_commands_get_the_environment_without_the_kernels_own_variables(kernel: Any) -> None:
    for kind, more in (
        ("shell", {"script": "env"}),
        ("cli-skills", {"command": "sh", "args": ["-c", "env"]}),
    ):
        result = kernel.run_one(kind, more)["result"]
        text = result.get("stdout") or result["output"]
        assert "PATH=" in text
        assert "EXECGO_" not in text
        assert "canary" not in text


json_ish = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["noop", "os", "a"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from("tasks id type params input depends_on retry timeout annotations runtime created_at ID x".split()),
            inner,
            max_size=6,
        )
    ),
    max_leaves=20,
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.binary(max_size=60)
    | json_ish.map(lambda value: json.dumps(value).encode())
    | st.lists(st.dictionaries(st.sampled_from(["id", "type", "params", "depends_on", "retry"]), json_ish), max_size=4).map(
        lambda tasks: json.dumps({"tasks": tasks}).encode()
    )
)
def test_no_body_whatever_is_a_server_error(kernel: Any, body: bytes) -> None:
    answer = kernel.call("POST", "/tasks", body)
    assert answer.status in (202, 400, 409), answer  # 409: an id of an earlier body
    assert set(answer.json) in ({"error"}, {"accepted", "task_ids"})
    assert kernel.call("GET", "/tasks").status == 200
