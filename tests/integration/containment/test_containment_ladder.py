"""The rungs of isolation, each where it can be had, else skipped with what its trial said."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from pytest_execgo.core.containment.ladder import Ladder, Rung

LADDER = Ladder()
SCRIPT = "id -u; echo $$; ls -d /proc/[0-9]* | wc -l; p=/var/tmp/execgo-ladder-$$; touch $p 2>/dev/null && rm $p && echo wrote; :"


@pytest.fixture
def open_folder() -> Any:
    """A folder that anybody may write to, above which everybody may pass."""
    import shutil
    import tempfile

    folder = Path(tempfile.mkdtemp(dir="/var/tmp"))
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


def needs(rung: Rung) -> None:
    problem = LADDER.problem(rung)
    if problem:
        pytest.skip(f"{rung}: {problem}")


@pytest.mark.parametrize("rung", [Rung.BUBBLEWRAP, Rung.NAMESPACE, Rung.LANDLOCK])
def test_a_rung_holds_what_it_promises_and_is_told(start_service: Any, open_folder: Path, rung: Rung) -> None:
    needs(rung)
    runtime = start_service("runtime", "-isolation", str(rung))
    told = runtime.client.get("/api/v1/runtime/capabilities").json()["isolation"]
    assert (told["requested"], told["effective"]) == (rung, rung)
    answer = runtime.finished(runtime.submit({"kind": "script", "script": SCRIPT, "cwd": str(open_folder)}))
    isolation = answer["isolation"]
    assert (isolation["requested"], isolation["effective"], isolation["fallback_reasons"]) == (rung, rung, [])
    uid, pid, processes, *wrote = answer["stdout"].split()
    assert int(uid) == (65534 if os.geteuid() == 0 else os.geteuid())
    if rung is Rung.LANDLOCK:
        assert wrote == []
    else:
        assert int(pid) < 9
        assert int(processes) < 12
    missing = runtime.finished(runtime.submit({"kind": "command", "program": "no-such-program", "cwd": str(open_folder)}))
    assert missing["error"]["code"] == "launch_failed"
    failing = runtime.finished(runtime.submit({"kind": "script", "script": "exit 7", "cwd": str(open_folder)}))
    assert (failing["error"]["code"], failing["exit_code"]) == ("exit_nonzero", 7)
    limited = runtime.finished(
        runtime.submit({"kind": "script", "script": "ulimit -t", "cwd": str(open_folder)}, limits={"cpu_time_sec": 9})
    )
    assert limited["stdout"] == "9\n"
    lasting = {"kind": "script", "script": "setsid sleep 4711 & sleep 4711", "timeout_ms": 300, "cwd": str(open_folder)}
    slow = runtime.submit(lasting)
    assert runtime.finished(slow)["error"]["code"] == "timeout"
    assert runtime.having("sleep 4711") == []


def test_a_fallback_is_told_and_strict_refuses_it(start_service: Any, open_folder: Path) -> None:
    bare = open_folder / "bin"  # a machine that has a shell, and none of the tools that isolate
    bare.mkdir()
    for name in ("sh", "sleep", "id"):
        (bare / name).symlink_to(Path("/bin") / name)
    runtime = start_service("runtime", "-isolation", "namespace", PATH=str(bare))
    lenient = runtime.finished(runtime.submit({"kind": "script", "script": "echo ran", "cwd": str(open_folder)}))
    assert lenient["status"] == "success"
    assert lenient["isolation"]["effective"] != "namespace"
    assert "unshare is not installed" in lenient["isolation"]["fallback_reasons"][0]
    for sandbox in ({"profile": "strict"}, {"profile": "process", "strict": True}):
        marker = open_folder / "ran"
        execution = {"kind": "script", "script": f"echo > {marker}", "cwd": str(open_folder)}
        refused = runtime.finished(runtime.submit(execution, sandbox=sandbox))
        assert (refused["status"], refused["error"]["code"]) == ("failed", "sandbox_setup_failed")
        assert any("not installed" in reason for reason in refused["error"]["details"]["fallback_reasons"])
        assert not marker.exists()


def test_a_task_can_ask_for_more_than_the_service_does_never_for_less(start_service: Any, runtime: Any, open_folder: Path) -> None:
    plain = runtime.finished(runtime.submit({"kind": "script", "script": "echo 1"}))
    assert plain["isolation"] == {"requested": "plain", "effective": "plain", "fallback_reasons": [], "uid": None}
    needs(Rung.NAMESPACE)
    execution = {"kind": "script", "script": "echo $$", "cwd": str(open_folder)}
    more = runtime.finished(runtime.submit(execution, sandbox={"profile": "namespace"}))
    assert (more["isolation"]["effective"], more["output"]) == ("namespace", 1)
    bound = start_service("runtime", "-isolation", "namespace")
    less = bound.finished(bound.submit(execution, sandbox={"profile": "plain"}))
    assert (less["isolation"]["effective"], less["output"]) == ("namespace", 1)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has a user to drop")
def test_root_keeps_its_user_where_nobody_else_could_work_and_says_so(start_service: Any, tmp_path: Path) -> None:
    needs(Rung.NAMESPACE)
    tmp_path.chmod(0o700)
    runtime = start_service("runtime", "-isolation", "auto")
    execution = {"kind": "script", "script": "id -u; echo x > made", "cwd": str(tmp_path)}
    answer = runtime.finished(runtime.submit(execution))
    assert answer["status"] == "success"
    assert answer["stdout"] == "0\n"
    assert (tmp_path / "made").exists()
    assert any(reason.startswith("uid: ") for reason in answer["isolation"]["fallback_reasons"])
    refused = runtime.finished(runtime.submit(execution, sandbox={"profile": "strict"}))
    assert refused["error"]["code"] == "sandbox_setup_failed"
