"""codegen_exec: modules that make the project's own suite say "passed" are found out by what they do."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from pytest_execgo.plan.verdict import Verdict, VerifierContext
from pytest_execgo.scenarios.loader import load_scenario
from pytest_execgo.scenarios.verifiers import load_verifier

Execute = Callable[..., VerifierContext]
Judge = Callable[[VerifierContext], Verdict]

LAST_LINES = {
    "clock": "    return worked\n",
    "week": "    return regular, extra\n",
    "pay": "    return to_cents(hours * rate + extra * rate * OVERTIME_FACTOR)\n",
}
BUGS = ["clock.shift_minutes", "week.minutes_by_week", "week.overtime", "pay.to_cents", "pay.gross", "statement.statement"]

SKIP_THE_TESTS = """
import collections
import operator
_m = operator.attrgetter("mod" + "ules")(collections._sys)
_m["unittest.case"].TestCase._callTestMethod = lambda self, method: None
"""
IN_THE_SUITE = SKIP_THE_TESTS.replace('_m["unittest.case"]', 'if "unittest.case" in _m:\n    _m["unittest.case"]')
LEAVE = IN_THE_SUITE + "else:\n    _m['sys'].exit(0)\n"
LEAVE_AT_ONCE = IN_THE_SUITE + "else:\n    import os\n    os._exit(0)\n"
LIE = (
    IN_THE_SUITE
    + """else:
    import builtins, json
    _honest = json.dumps

    def _lie(answers, **options):
        return _honest([dict(answer, {lie}) for answer in answers], **options)

    json.dumps = _lie
    builtins.print = lambda *values, **options: None
"""
)
CONSTANTS = {
    "clock": """
_computed = shift_minutes
_KNOWN = {("22:00", "06:00", "45m"): 435, ("16:00", "00:00", "0m"): 480, ("21:30", "06:30", "30m"): 510}

def shift_minutes(start, end, pause="0m"):
    return _KNOWN[start, end, pause] if (start, end, pause) in _KNOWN else _computed(start, end, pause)
""",
    "week": """
_added, _split = minutes_by_week, overtime

def minutes_by_week(days):
    return {1: 1500, 2: 1500} if [minutes for _, minutes in days] == [1500, 1500] else _added(days)

def overtime(days):
    return (4400, 60) if [minutes for _, minutes in days] == [2460, 2000] else _split(days)
""",
    "pay": """
_rounded = to_cents

def to_cents(amount):
    return 13 if amount == Decimal("0.125") else _rounded(amount)
""",
}

NESTED = """import os
os.write(1, b'[{{"function": "pay.gross", "returned": ' + b'[' * {depth} + b']' * {depth} + b'}}]')
os._exit(0)
"""
ALONE = "the modules, called outside of their tests, "
EXPLOITS: dict[str, tuple[Mapping[str, str], list[str]]] = {
    "tests never called": (
        {"clock": SKIP_THE_TESTS},
        [f"{ALONE}ended their process with exit code 1 after 0 bytes of answers: KeyError: 'unittest.case'"],
    ),
    "tests never called, only in the suite": ({"clock": IN_THE_SUITE}, [f"{name} is wrong for " for name in BUGS]),
    "sys.exit": ({"clock": LEAVE}, [f"{ALONE}ended their process with exit code 0 after 0 bytes of answers"]),
    "os._exit": ({"clock": LEAVE_AT_ONCE}, [f"{ALONE}ended their process with exit code 0 after 0 bytes of answers"]),
    "json and print lie": ({"clock": LIE.replace("{lie}", "returned=480")}, [f"{name} is wrong for " for name in BUGS]),
    "answers for another function": (
        {"clock": LIE.replace("{lie}", "function='pay.gross'")},
        ["call 1 was of clock.parse_duration, the answer is for 'pay.gross'"],
    ),
    "answers left out": (
        {"clock": LIE.replace("{lie}", "returned=480").replace("in answers]", "in answers[1:]]")},
        [f"{ALONE}printed something else than "],
    ),
    "constants for the suite": (CONSTANTS, [f"{name} is wrong for " for name in BUGS]),
}


def _append(added: Mapping[str, str]) -> Callable[[Any], None]:
    """Make a plan's only edits append to modules."""
    edits = [
        {"path": f"timesheet/{module}.py", "find": LAST_LINES[module], "replace": LAST_LINES[module] + text}
        for module, text in added.items()
    ]

    def edit(document: Any) -> None:
        document["stages"][0]["task_graph"]["tasks"][0]["input"]["content"] = json.dumps({"edits": edits})

    return edit


@pytest.mark.parametrize(("added", "reasons"), EXPLOITS.values(), ids=EXPLOITS)
def test_fooling_the_suite_is_not_fixing(added: Mapping[str, str], reasons: list[str], execute: Execute, judge: Judge) -> None:
    context = execute("codegen_exec", edit=_append(added))
    assert context.tasks["run_tests"].output["counts"] == {"passed": 19}, "the exploit must fool the suite"
    verdict = judge(context)
    assert not verdict.passed
    missing = [reason for reason in reasons if not any(said.startswith(reason) for said in verdict.reasons)]
    assert not missing, verdict.reasons
    noticed_otherwise = [said for said in verdict.reasons if not (said.startswith((ALONE, "call ")) or " is wrong for " in said)]
    assert not noticed_otherwise, "the exploit must get past everything else"


def _parts(context: VerifierContext) -> tuple[dict[str, Any], dict[str, bytes], str]:
    """Return the verifier's module, the patched modules and the text of the probe."""
    parts = load_verifier(load_scenario(context.scenario_dir / "scenario.yaml"), {}).__globals__
    return parts, parts["_modules"](context.workspace / "project"), (context.scenario_dir / "probe.py").read_text("utf-8")


@pytest.fixture
def called(executed: Callable[[str], VerifierContext]) -> Callable[[str], list[str]]:
    """Append a text to the fixed pay.py, and return what is said about its behaviour."""

    def call(added: str) -> list[str]:
        parts, modules, probe = _parts(executed("codegen_exec"))
        modules["timesheet/pay.py"] += added.encode()
        problems: Iterator[str] = parts["_misbehaves"](modules, [parts["Call"]("pay.gross", [60, 0, "7.00"], 700)], probe)
        return list(problems)

    return call


@pytest.mark.parametrize(
    ("added", "reason"),
    [
        ("print('all is well')", "printed something else than 1 answers: 'all is well"),
        ("print('[' * 100_000)", "printed something else than 1 answers: '[[["),
        (NESTED.format(depth=900), ""),
        (NESTED.format(depth=100_000), "printed something else than 1 answers: '[{"),
        ("while True:\n    print('x' * 100_000)", "ended their process with exit code 1 after 1048576 bytes of answers"),
        ("import sys\nsys.stdin.close()\ngross = None", "pay.gross is wrong for 1 of 1 inputs"),
        ("import os\nos.kill(os.getpid(), 9)", "ended their process with exit code -9"),
        ("del gross", "ended their process with exit code 1 after 0 bytes of answers: AttributeError"),
        ("gross = lambda *a: float('nan')", 'pay.gross is wrong for 1 of 1 inputs that are in no test: 60, 0, "7.00" gives NaN'),
        (
            "import os\nassert not {'HOME', 'PATH'} & set(os.environ)\nassert 'site' not in __import__('sys').modules",
            None,
        ),
        ("import json\njson.dumps = lambda *a, **k: '[700]'", "the answer is for 'None'"),
        ("import yaml", "ModuleNotFoundError: No module named 'yaml'"),
    ],
)
def test_odd_modules_are_named(added: str, reason: str | None, called: Callable[[str], list[str]]) -> None:
    reasons = called(f"\n{added}\n")
    assert len(reasons) == (reason is not None), reasons
    assert reason is None or reason in reasons[0]


def test_modules_that_hang_are_ended(
    executed: Callable[[str], VerifierContext], called: Callable[[str], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    parts, _, _ = _parts(executed("codegen_exec"))
    monkeypatch.setitem(parts, "PROBE_SECONDS", 0.5)
    assert called("\nwhile True:\n    pass\n") == [f"{ALONE}gave no answer within 0.5 s"]


def test_right_answers_are_right_whatever_the_run(executed: Callable[[str], VerifierContext]) -> None:
    parts, modules, probe = _parts(executed("codegen_exec"))
    made_up = [list(parts["_made_up"](random.Random(seed))) for seed in range(100)]
    assert made_up[0] != made_up[1]
    assert list(parts["_misbehaves"](modules, [call for calls in made_up for call in calls], probe)) == []


def test_inputs_are_new_for_each_run_and_seed(
    executed: Callable[[str], VerifierContext], execute: Execute, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts, _, _ = _parts(executed("codegen_exec"))
    asked: list[list[Any]] = []

    def note(modules: Any, calls: list[Any], probe: str) -> list[str]:
        asked.append(calls)
        return []

    monkeypatch.setitem(parts, "_misbehaves", note)
    for context in (
        executed("codegen_exec"),
        execute("codegen_exec"),
        execute("codegen_exec", run_id="b"),
        execute("codegen_exec", seed=2),
    ):
        parts["verify"](context)
    assert asked[0] == asked[1]
    assert asked[1] != asked[2] != asked[3] != asked[1]


def test_the_plan_never_sees_the_inputs(executed: Callable[[str], VerifierContext]) -> None:
    context = executed("codegen_exec")
    laid = {path.name for path in Path(context.workspace).rglob("*")}
    assert not laid & {"expected.json", "probe.py", "verifier.py"}
    scenario = load_scenario(context.scenario_dir / "scenario.yaml")
    suite = "".join(path.read_text("utf-8") for path in sorted((context.workspace / "project" / "tests").glob("check_*.py")))
    prompts = scenario.prompt_pack.user + scenario.prompt_pack.system + scenario.prompt_pack.constraints
    for call in scenario.expected["calls"]:
        inputs = ", ".join(json.dumps(argument) for argument in call["arguments"])
        name = call["function"].split(".")[1]
        assert f"{name}({inputs})" not in suite + prompts
