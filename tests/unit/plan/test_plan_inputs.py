"""What a task's arguments may hold: the fields of its tool, whole paths, bindings that meet a field."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from pytest_execgo.kernel.executors.tools import dns, file, http, noop, shell, sleep, tcp
from pytest_execgo.plan.tool_inputs import TOOL_INPUTS, RuntimeControl, RuntimeLimits, RuntimeSandbox
from pytest_execgo.plan.tools import TOOLS
from pytest_execgo.plan.validate import check_plan
from pytest_execgo.runtime import models

Document = dict[str, Any]
PARAMS = "$.stages[1].task_graph.tasks[0].params"
BINDING = "$.stages[1].bindings[{}].target_param_path"
WS = "${{ workspace }}"


def binding(target: str) -> Document:
    return {"source_task_id": "first", "source_path": "output", "target_task_id": "t", "target_param_path": target}


def plan_of(task: Document, *targets: str) -> Document:
    """A plan whose second stage is one task, with a binding to each target."""
    first = {"id": "first", "type": "noop"}
    stages = [
        {"stage_id": "a", "task_graph": {"tasks": [first]}},
        {"stage_id": "b", "task_graph": {"tasks": [{"id": "t", **task}]}, "bindings": [binding(target) for target in targets]},
    ]
    return {"plan_id": "p", "scenario_id": "s", "framework": "f", "mode": "replay", "stages": stages}


def task(kind: str, **params: Any) -> Document:
    return {"type": kind, "params": params}


def command(**execution: Any) -> Document:
    return task("runtime", execution={"kind": "command", "program": "python3", **execution})


WRITE = {"action": "write", "path": f"{WS}/a", "content": ""}

GOOD: list[Document] = [
    {"type": "noop"},
    task("noop"),
    task("noop", message=None),
    task("shell", command="cat", args=["a b"], dir=WS),
    task("shell", script="echo $seed {{ workspace }}", runner="sh"),
    task("file", **WRITE),
    task("file", action="read", path="/etc/hosts"),
    {"type": "os", "tool_name": "file", "input": WRITE},
    task("http", url="${{ fixtures_url }}/x", method="PURGE", headers={"A": "b"}, body="{{ seed }}"),
    task("http", url="HTTPS://a.test"),
    task("dns", name="localhost", record="txt"),
    task("tcp", address="localhost:80", timeout_ms=60_000),
    task("sleep", duration_ms=600_000),
    task("sleep"),
    command(args=["a.py"], cwd="/tmp", env={"A": "${{ seed }}"}, timeout_ms=1),
    command(args=["-c", "for seed in 1 2; do echo $seed ${seed}; done", "print(f'{seed}')"]),
    command(cwd=""),
    task("runtime", execution={"kind": "script", "script": "echo $workspace", "interpreter": "bash"}, limits={"pids_max": 5}),
    task("runtime", execution={"kind": "emit", "payload": [1], "delay_ms": 0}, policy={"any": 1}, metadata={}),
    task("runtime", execution={"kind": "sleep", "duration_ms": 5}, sandbox={"strict": True}, control_context={"owner": "o"}),
    task("runtime", execution={"kind": "fail", "code": "x", "retryable": True}),
    task("runtime", execution={"kind": "code", "language": "python", "code": "print(1)"}, sandbox={"mode": "native"}),
    task(
        "runtime", execution={"kind": "code", "language": "go", "code": "x", "stdin": "", "args": ["a"], "files": {"a/b.txt": ""}}
    ),
    task("code", execution={"kind": "code", "language": "bash", "code": "echo $seed", "env_vars": {"A": "b"}, "timeout_ms": 1}),
    {"type": "os", "tool_name": "code", "input": {"execution": {"kind": "code", "language": "rust", "code": "x", "env": {}}}},
    {"type": "mcp", "tool_name": "mcp.execute", "input": {"any": [1]}},
    task("cli-skills", command="ls", args=["-l"]),
]

CODE = {"kind": "code", "language": "python", "code": "x"}

BAD: list[tuple[Document, str, str, str]] = [
    (task("runtime", execution=CODE | {"language": "pyton"}), "execution.language", "bad_value", "did you mean 'python'?"),
    (task("runtime", execution=CODE | {"code": ""}), "execution.code", "bad_value", "at least 1 character"),
    (task("runtime", execution=CODE | {"files": {"../x": ""}}), "execution.files['../x']", "bad_name", "without '.' and '..'"),
    (task("runtime", execution=CODE | {"files": {"/x": ""}}), "execution.files['/x']", "bad_name", "relative path"),
    (task("runtime", execution=CODE | {"env_vars": {"A=": ""}}), "execution.env_vars['A=']", "bad_name", "holds no '='"),
    (task("runtime", execution=CODE | {"env": {"A": "{{ seed }}"}}), "execution.env.A", "suspicious_placeholder", "write"),
    (task("runtime", execution=CODE, sandbox={"mode": "natve"}), "sandbox.mode", "bad_value", "allowed: docker, native, wasm"),
    (task("code", execution=CODE | {"kind": "command"}), "execution.kind", "bad_value", "allowed: code"),
    (task("code", limits={}), "execution", "missing", "'execution' is missing"),
    (command(arg=["a.py"]), "execution.arg", "unknown_field", "did you mean 'args'?"),
    (
        task("file", action="read", pth="/a", path="/a"),
        "pth",
        "unknown_field",
        "did you mean 'path'? allowed: action, path, content",
    ),
    (task("shell", command="ls", cwd=WS), "cwd", "unknown_field", "allowed: command, args, script, runner, dir"),
    (command(env={"A": 1}), "execution.env.A", "bad_value", "found the number 1; allowed: text"),
    (command(env={"A=B": "x"}), "execution.env['A=B']", "bad_name", "holds no '='"),
    (command(args="join.py"), "execution.args", "bad_value", 'found the text "join.py"; allowed: a list'),
    (command(args=["a", 3]), "execution.args[1]", "bad_value", "allowed: text"),
    (command(args=["x" * 200_000]), "execution.args[0]", "bad_value", "put it into a file"),
    (command(program=""), "execution.program", "bad_value", "at least 1 character"),
    (command(timeout_ms="${{ seed }}"), "execution.timeout_ms", "bad_value", "allowed: an integer"),
    (task("runtime", execution={"kind": "command"}), "execution.program", "missing", "'program' is missing"),
    (task("runtime", execution={"kind": "script", "program": "x", "script": "y"}), "execution.program", "unknown_field", "script"),
    (command() | {"params": {**command()["params"], "limit": {}}}, "limit", "unknown_field", "did you mean 'limits'?"),
    (
        command() | {"params": {**command()["params"], "limits": {"wall_time": 1}}},
        "limits.wall_time",
        "unknown_field",
        "wall_time_ms",
    ),
    (task("file", action="wirte", path="/a"), "action", "bad_value", "did you mean 'write'?"),
    (task("file", path="/a"), "action", "missing", "'action' is missing"),
    (task("file", action=None, path="/a"), "action", "bad_value", "found null"),
    (task("sleep", duration_ms=600_001), "duration_ms", "bad_value", "at most 600000"),
    (task("sleep", duration_ms=True), "duration_ms", "bad_value", "found true"),
    (task("tcp", address="localhost"), "address", "bad_value", "host:port"),
    (task("dns", name=" "), "name", "bad_value", "matches"),
    (task("dns", name="a", record="mx"), "record", "bad_value", "allowed: ip, txt, cname"),
    (task("http", url="fixtures/x"), "url", "bad_value", "${{ fixtures_url }}/…"),
    (task("http", url="http://a", header={}), "header", "unknown_field", "did you mean 'headers'?"),
    (task("shell", args=["x"]), "", "missing", "'command' and 'script'"),
    (task("shell", script="x", runner="direct"), "runner", "bad_value", "allowed with a script"),
    ({"type": "file"}, "", "missing", "os.file takes action, path, content"),
    (task("cli-skills", args=[]), "command", "missing", "'command' is missing"),
    (task("noop") | {"input": {}}, "", "two_inputs", "write one"),
    (task("file", **WRITE | {"path": "out/a.txt"}), "path", "relative_path", 'write "${{ workspace }}/out/a.txt"'),
    (task("file", **WRITE | {"path": "./a"}), "path", "relative_path", 'write "${{ workspace }}/a"'),
    (task("file", **WRITE | {"path": "${{ run_id }}/a"}), "path", "relative_path", "services' own folder"),
    (task("shell", command="ls", dir="."), "dir", "relative_path", 'write "${{ workspace }}"'),
    (command(cwd="sub"), "execution.cwd", "relative_path", 'write "${{ workspace }}/sub"'),
    (command(args=["{{ workspace }}/a", "b"]), "execution.args[0]", "suspicious_placeholder", 'write "${{ workspace }}/a"'),
    (command(args=["a", "cat ${ workspace }/a; ls"]), "execution.args[1]", "suspicious_placeholder", "cat ${{ workspace }}/a; ls"),
    (command(args=["--out=$workspace/a"]), "execution.args[0]", "suspicious_placeholder", '"--out=${{ workspace }}/a"'),
    (command(env={"OUT": "$WORKSPACE/a"}), "execution.env.OUT", "suspicious_placeholder", '"${{ workspace }}/a"'),
]

LOOKALIKES = [
    "${ workspace }/a",
    "${workspace}/a",
    "{{ workspace }}/a",
    "{{workspace}}/a",
    "$workspace/a",
    "$Workspace/a",
    "{workspace}/a",
    "${{ workspace }/a",
    "$ {{ workspace }}/a",
    "%workspace%/a",
    "<workspace>/a",
]


@pytest.mark.parametrize("given_task", GOOD, ids=str)
def test_what_a_tool_takes(given_task: Document) -> None:
    assert check_plan(plan_of(given_task)) == []


@pytest.mark.parametrize(("given_task", "place", "code", "words"), BAD, ids=[f"{row[2]}-{row[1]}" for row in BAD])
def test_what_a_tool_does_not_take(given_task: Document, place: str, code: str, words: str) -> None:
    (problem,) = check_plan(plan_of(given_task))
    assert (problem.path, problem.code) == (f"{PARAMS}.{place}".rstrip("."), code)
    assert words in problem.message


@pytest.mark.parametrize("path", LOOKALIKES)
def test_lookalikes_of_placeholders(path: str) -> None:
    (problem,) = check_plan(plan_of(task("file", **WRITE | {"path": path})))
    assert (problem.path, problem.code) == (f"{PARAMS}.path", "suspicious_placeholder")
    assert 'write "${{ workspace }}/a"' in problem.message


def test_real_placeholders_beside_a_lookalike_stay() -> None:
    (problem,) = check_plan(plan_of(task("file", **WRITE | {"path": f"{WS}/$run_id/a"})))
    assert 'write "${{ workspace }}/${{ run_id }}/a"' in problem.message
    (problem,) = check_plan(plan_of(task("file", **WRITE | {"path": "${{workspace}}/$run_id/a"})))
    assert 'write "${{workspace}}/${{ run_id }}/a"' in problem.message


def test_an_mcp_task_names_its_tool() -> None:
    (problem,) = check_plan(plan_of({"type": "mcp", "input": {}}))
    assert (problem.path, problem.code) == ("$.stages[1].task_graph.tasks[0].tool_name", "missing")


BOUND: list[tuple[Document, list[str]]] = [
    (task("file", action="write", path=f"{WS}/a"), ["params.content"]),
    (task("file", action="write"), ["params.path"]),
    (task("file", action={}, path=[1]), ["params.path", "params.action"]),
    (task("file", path=5, typo=1), ["params"]),
    ({"type": "file"}, ["params.path", "params.action"]),
    ({"type": "noop", "params": None}, ["input.message"]),
    (task("shell"), ["params.script"]),
    (task("shell", args=[]), ["params.command", "params.args.0"]),
    (task("runtime", execution={"kind": "command"}), ["params.execution.program"]),
    (command(env={"A": 1, "B": "b"}), ["params.execution.env.A"]),
    (command(env=3), ["params.execution.env"]),
    (command(args=["a"]), ["params.execution.args.1", "params.execution.args.2", "params.execution.args.0"]),
    (command(), ["params.limits", "params.limits.wall_time_ms"]),
    (command(), ["params.metadata.any.where"]),
    (task("runtime", execution={"kind": "emit"}), ["params.execution.payload.deep.down"]),
    (task("runtime", execution={"kind": "code", "language": "python"}), ["params.execution.code"]),
    (task("runtime", execution=CODE), ["params.execution.stdin", "params.execution.files.a\\.json"]),
    ({"type": "mcp", "tool_name": "x", "input": {}}, ["input.any"]),
]


@pytest.mark.parametrize(("given_task", "targets"), BOUND, ids=str)
def test_what_a_binding_fills_counts_as_present_and_right(given_task: Document, targets: list[str]) -> None:
    assert check_plan(plan_of(given_task, *targets)) == []


BAD_TARGETS: list[tuple[Document, str, str]] = [
    (task("file", **WRITE), "params.contents", "did you mean 'content'?"),
    (task("file", **WRITE), "params.new.0", "unknown field 'new'"),
    (command(), "params.execution.arg.0", "did you mean 'args'?"),
    (command(), "params.limits.wall_time", "did you mean 'wall_time_ms'?"),
    (command(args=["a"]), "params.execution.args.1.deep", "allowed: text"),
    (command(), "params.execution.args.0", "allowed: a list"),
    (command(), "params.execution.env.A=B", "holds no '='"),
]


@pytest.mark.parametrize(("given_task", "target", "words"), BAD_TARGETS, ids=[row[1] for row in BAD_TARGETS])
def test_a_binding_to_what_the_tool_does_not_take(given_task: Document, target: str, words: str) -> None:
    (problem,) = check_plan(plan_of(given_task, target))
    assert (problem.path, problem.code) == (BINDING.format(0), "binding_target_path")
    assert words in problem.message
    assert repr(target) in problem.message


def test_an_unknown_field_that_is_given_and_bound_is_wrong_twice() -> None:
    problems = check_plan(plan_of(task("file", **WRITE, contents=""), "params.contents"))
    assert [problem.path for problem in problems] == [BINDING.format(0), f"{PARAMS}.contents"]


def test_a_binding_excuses_only_its_own_place() -> None:
    problems = check_plan(plan_of(task("shell", comand="ls"), "params.args"))
    assert [(problem.path, problem.code) for problem in problems] == [(PARAMS, "missing"), (f"{PARAMS}.comand", "unknown_field")]


def test_a_name_and_its_value_can_both_be_wrong() -> None:
    problems = check_plan(plan_of(command(env={"A=B": {}})))
    assert [problem.path for problem in problems] == [f"{PARAMS}.execution.env['A=B']"] * 2
    assert {problem.code for problem in problems} == {"bad_name", "bad_value"}


def test_the_arguments_of_a_tool_that_is_not_allowed_are_not_judged() -> None:
    (problem,) = check_plan(plan_of(task("file", pth="x")), allowed_tools=["os.noop"])
    assert problem.code == "tool_not_allowed"


def test_every_tool_is_described() -> None:
    assert TOOL_INPUTS.keys() == TOOLS


@pytest.mark.parametrize("module", [dns, file, http, noop, shell, sleep, tcp])
def test_os_tools_have_the_kernels_fields(module: Any) -> None:
    name = module.__name__.rpartition(".")[2]
    assert set(TOOL_INPUTS[f"os.{name}"].model_fields) == set(module._PARAMS.fields)


RUNTIME = {
    "command": models.Command,
    "script": models.Script,
    "code": models.Code,
    "emit": models.Emit,
    "sleep": models.Sleep,
    "fail": models.Fail,
}


@pytest.mark.parametrize("kind", RUNTIME)
def test_runtime_kinds_have_the_runtimes_fields(kind: str) -> None:
    ours = TOOL_INPUTS[f"runtime.{kind}"]
    assert set(ours.model_fields) == set(models.TaskRequest.model_fields)
    execution = ours.model_fields["execution"].annotation
    assert isinstance(execution, type)
    assert issubclass(execution, BaseModel)
    theirs: type[BaseModel] = RUNTIME[kind]  # type: ignore[assignment]
    required = {name: field.is_required() for name, field in execution.model_fields.items()}
    assert required == {name: field.is_required() for name, field in theirs.model_fields.items()}


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(RuntimeLimits, models.Limits), (RuntimeSandbox, models.Sandbox), (RuntimeControl, models.ControlContext)],
)
def test_what_surrounds_an_execution_has_the_runtimes_fields(ours: type[BaseModel], theirs: type[BaseModel]) -> None:
    assert set(ours.model_fields) == set(theirs.model_fields)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=8) | st.sampled_from(LOOKALIKES),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(), max_size=8), inner, max_size=4),
    max_leaves=10,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=300)
@given(st.data(), JSON)
def test_any_argument_gives_problems_and_never_an_exception(data: st.DataObject, value: Any) -> None:
    chosen = copy.deepcopy(data.draw(st.sampled_from([*GOOD, *(row[0] for row in BOUND)])))
    root = "input" if "input" in chosen else "params"
    fields = [*(chosen.get(root) or {}), "execution", "any"]
    targets = data.draw(st.lists(st.sampled_from([root, *(f"{root}.{name}" for name in fields), f"{root}.execution.env.A", "x"])))
    if data.draw(st.booleans()):
        chosen[root] = value
    else:
        chosen[root] = (chosen.get(root) or {}) | {data.draw(st.sampled_from(fields)): value}
    for problem in check_plan(plan_of(chosen, *targets)):
        assert problem.path.startswith("$")
        assert problem.code
        assert problem.message


def test_ten_thousand_tasks_with_wrong_arguments(make_plan: Callable[[], Document]) -> None:
    plan = make_plan()
    plan["stages"] = plan["stages"][:1]
    many = [{"id": f"t{index}", **command(arg=[], env={"A": 1}, cwd="x")} for index in range(10_000)]
    plan["stages"][0]["task_graph"]["tasks"] = many
    assert len(check_plan(plan)) == 30_000


def test_one_task_with_ten_thousand_bindings() -> None:
    targets = [f"params.execution.env.V{index}" for index in range(10_000)] + [
        f"params.execution.x{index}" for index in range(5_000)
    ]
    assert len(check_plan(plan_of(command(), *targets))) == 5_000


def test_a_target_of_a_hundred_thousand_keys() -> None:
    assert check_plan(plan_of(command(), "params.metadata" + ".a" * 100_000)) == []
