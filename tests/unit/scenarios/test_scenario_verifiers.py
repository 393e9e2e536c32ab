"""Verifiers: found, imported, asked; each way in which they can be broken."""

from __future__ import annotations

import pickle
import re
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pytest_execgo.core.errors import ExecGoError, UsageError
from pytest_execgo.plan.verdict import Verdict, Verifier, VerifierContext
from pytest_execgo.scenarios.loader import load_scenario
from pytest_execgo.scenarios.verifiers import judge, load_verifier

Make = Callable[..., Path]
CONTEXT = cast(VerifierContext, None)
HEAD = "from pytest_execgo.plan.verdict import Verdict\n"


@pytest.fixture(autouse=True)
def _no_modules_left(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Take out of `sys.modules` what a test imported, whose assertions nobody rewrites here."""
    plain = [finder for finder in sys.meta_path if type(finder).__name__ != "AssertionRewritingHook"]
    monkeypatch.setattr(sys, "meta_path", plain)
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("execgo_verifier_"):
            del sys.modules[name]


def loaded(file: Path, source: str, registered: dict[str, Verifier] | None = None) -> Verifier:
    (file.parent / "verifier.py").write_text(source)
    return load_verifier(load_scenario(file), registered or {})


def test_a_function_of_the_scenarios_file(make_scenario: Make) -> None:
    verifier = loaded(make_scenario(), HEAD + "def verify(context):\n    return Verdict(passed=context is None)\n")
    assert judge(verifier, CONTEXT) == Verdict(passed=True)


def test_the_folder_stays_clean(make_scenario: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    file = make_scenario()
    before = sorted(file.parent.rglob("*"))
    load_verifier(load_scenario(file), {})
    assert sorted(file.parent.rglob("*")) == before


def test_two_scenarios_with_files_of_one_name_and_content_do_not_clash(make_scenario: Make) -> None:
    source = (
        HEAD
        + "calls = []\ndef verify(context):\n    calls.append(1)\n    return Verdict(passed=True, details={'calls': len(calls)})\n"
    )
    first, second = loaded(make_scenario("one"), source), loaded(make_scenario("two"), source)
    assert [judge(verifier, CONTEXT).details["calls"] for verifier in (first, first, second)] == [1, 2, 1]


def test_a_changed_file_is_imported_anew_and_an_unchanged_one_is_not(make_scenario: Make) -> None:
    file = make_scenario()
    source = HEAD + "def verify(context):\n    return Verdict(passed={})\n"
    first = loaded(file, source.format("1 == 1"))
    assert load_verifier(load_scenario(file), {}) is first
    assert [judge(loaded(file, source.format(f"1 == {digit}")), CONTEXT).passed for digit in (2, 1)] == [False, True]


def test_its_classes_can_be_dataclasses_and_be_pickled(make_scenario: Make) -> None:
    source = "from __future__ import annotations\nfrom dataclasses import dataclass\n"
    source += "@dataclass(slots=True)\nclass Found:\n    n: int\ndef verify(context):\n    return Found(3)\n"
    found: Any = loaded(make_scenario(), source)(CONTEXT)
    assert pickle.loads(pickle.dumps(found)) == found


def test_a_registered_name(make_scenario: Make) -> None:
    file = make_scenario()
    file.write_text(file.read_text().replace("verifier.py:verify", "mine"))

    def mine(context: VerifierContext) -> Verdict:
        return Verdict(passed=True)

    assert load_verifier(load_scenario(file), {"mine": mine}) is mine
    with pytest.raises(UsageError) as caught:
        load_verifier(load_scenario(file), {"mind": mine})
    assert f"{file}: $.verifier: unknown verifier 'mine'" in caught.value.message
    assert caught.value.hint == "did you mean 'mind'? allowed: mind, or file.py:function"


BROKEN = [
    ("def verifi(context): pass\n", "verifier.py:1: unknown verifier function 'verify'", "did you mean 'verifi'? allowed: verifi"),
    ("verify = 3\n", "verify is the number 3", "a function of one argument"),
    ("\n\nasync def verify(context): pass\n", "verifier.py:3: verify is async", "remove `async`"),
    ("\ndef verify(): pass\n", "verifier.py:2: verify can't be called with one argument", "one argument"),
    ("def verify(a, b): pass\n", "verifier.py:1: verify can't be called with one argument (missing a required", "one argument"),
    ("x = 1\ndef verify(context:\n", "verifier.py:2: '(' was never closed", "must be Python"),
    (
        "x = 1\n\nimport no_such_module\n",
        "verifier.py:3: importing it raised ModuleNotFoundError: No module named 'no_such_module'",
        "one file",
    ),
    ("from .other import x\n", "verifier.py:1: importing it raised ImportError", "one file"),
    ("def f():\n    return 1 / 0\nf()\n", "verifier.py:2: importing it raised ZeroDivisionError", "one file"),
    ("raise SystemExit(3)\n", "verifier.py:1: importing it raised SystemExit: 3", "one file"),
    ("x = '\0'\n", "null bytes", ""),
]


@pytest.mark.parametrize(("source", "words", "hint"), BROKEN, ids=[row[1][:50] for row in BROKEN])
def test_files_that_hold_no_verifier(make_scenario: Make, source: str, words: str, hint: str) -> None:
    file = make_scenario()
    before = set(sys.modules)
    with pytest.raises(UsageError) as caught:
        loaded(file, source)
    assert caught.value.code == "bad_verifier"
    assert str(file.parent) in caught.value.message
    assert words in caught.value.message
    assert hint in caught.value.hint
    if "importing" in words or "closed" in words:
        assert set(sys.modules) == before, "a half-imported module is not kept"


def test_an_assertion_is_a_failed_verdict_with_its_message(make_scenario: Make) -> None:
    verifier = loaded(make_scenario(), "def verify(context):\n    assert context is not None, 'there is no world'\n")
    assert judge(verifier, CONTEXT) == Verdict(passed=False, reasons=["there is no world"])


def test_an_assertion_without_message_tells_itself_and_its_place(make_scenario: Make) -> None:
    file = make_scenario()
    source = "def check(found):\n    assert (\n        found['a']\n        == 2\n    )\ndef verify(context):\n    check({'a': 1})\n"
    for text in (source, source.replace("== 2", "== 3")):
        (reason,) = judge(loaded(file, text), CONTEXT).reasons
        assert f"found['a'] == {2 if text is source else 3}" in reason
        assert re.search(rf" \({re.escape(str(file.parent))}/verifier\.py:[23]\)$", reason), "Pythons differ in where it begins"


@pytest.mark.parametrize(
    ("statement", "kind"), [("1 / 0", "ZeroDivisionError"), ("{}['x']", "KeyError"), ("exit(1)", "SystemExit")]
)
def test_any_other_exception_is_the_verifiers_own_defect(make_scenario: Make, statement: str, kind: str) -> None:
    file = make_scenario()
    verifier = loaded(
        file, f"import json\nfrom sys import exit\ndef inner():\n    {statement}\ndef verify(context):\n    inner()\n"
    )
    with pytest.raises(ExecGoError) as caught:
        judge(verifier, CONTEXT)
    assert caught.value.code == "verifier_raised"
    assert not isinstance(caught.value, UsageError)
    assert f"{file.parent}/verifier.py:4: the verifier raised {kind}: " in caught.value.message
    assert type(caught.value.__cause__).__name__ == kind


def test_the_line_is_the_verifiers_even_when_a_library_raised(make_scenario: Make) -> None:
    verifier = loaded(make_scenario(), "import json\ndef verify(context):\n    return json.loads('{')\n")
    with pytest.raises(ExecGoError, match=r"verifier\.py:3: the verifier raised JSONDecodeError"):
        judge(verifier, CONTEXT)


@pytest.mark.parametrize(("value", "found"), [("None", "None"), ("True", "true"), ("{'passed': True}", "an object with 1 field")])
def test_only_a_verdict_is_a_verdict(make_scenario: Make, value: str, found: str) -> None:
    file = make_scenario()
    verifier = loaded(file, f"\n\ndef verify(context):\n    return {value}\n")
    with pytest.raises(ExecGoError) as caught:
        judge(verifier, CONTEXT)
    assert caught.value.code == "verifier_bad_result"
    assert caught.value.message == f"{file.parent}/verifier.py:3: the verifier returned {found}"
    assert "`return Verdict.of([])`" in caught.value.hint


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("context.workspace / 'out/a.txt'", "the plan may not have made out/a.txt: the verifier has to look whether it is there"),
        ("str(context.workspace / 'a.txt')", "the plan may not have made a.txt"),
        ("context.scenario_dir / 'a.txt'", "the verifier is broken, not the plan"),
        ("'a.txt'", "the verifier is broken, not the plan"),
    ],
)
def test_a_file_that_the_plan_may_not_have_made_is_told_apart(make_scenario: Make, tmp_path: Path, path: str, hint: str) -> None:
    verifier = loaded(make_scenario(), f"def verify(context):\n    open({path}).read()\n")
    folders = {"workspace": tmp_path / "workspace", "scenario_dir": tmp_path / "scenario"}
    with pytest.raises(ExecGoError) as caught:
        judge(verifier, cast(VerifierContext, SimpleNamespace(**folders)))
    assert caught.value.code == "verifier_raised"
    assert caught.value.hint.startswith(hint)


def test_a_coroutine_is_closed_and_refused() -> None:
    async def later() -> Verdict:
        return Verdict(passed=True)

    with pytest.raises(ExecGoError, match="returned a Python coroutine"):
        judge(cast(Verifier, lambda context: later()), CONTEXT)


def test_ctrl_c_is_not_swallowed() -> None:
    def verify(context: VerifierContext) -> Verdict:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        judge(verify, CONTEXT)


def test_a_callable_object_may_verify_and_is_named_when_it_breaks() -> None:
    class Strict:
        def __call__(self, context: VerifierContext) -> Verdict:
            raise ValueError("broken")

        def __repr__(self) -> str:
            return "<Strict>"

    with pytest.raises(ExecGoError, match=r"<Strict>.*ValueError: broken"):
        judge(Strict(), CONTEXT)


def test_what_an_assertion_says_is_bounded(make_scenario: Make) -> None:
    verifier = loaded(make_scenario(), "def verify(context):\n    assert False, 'x' * 1_000_000\n")
    (reason,) = judge(verifier, CONTEXT).reasons
    assert reason == "x" * 3999 + "…"


class Odd:
    """A finder of the old kind; and one whose loader takes no other name than the one that it was asked for."""

    class Loader(SourceFileLoader):
        pass

    def find_spec(self, name: str, path: Sequence[str], target: object = None) -> ModuleSpec | None:
        file = Path(path[0]) / f"{name.rpartition('.')[2]}.py"
        return spec_from_file_location(name, file, loader=self.Loader(name, str(file))) if file.exists() else None


@pytest.mark.parametrize("finder", [object(), Odd()], ids=["old", "strict"])
def test_other_finders_are_left_alone(make_scenario: Make, monkeypatch: pytest.MonkeyPatch, finder: object) -> None:
    monkeypatch.setattr(sys, "meta_path", [finder, *sys.meta_path])
    verifier = loaded(make_scenario(), HEAD + "def verify(context):\n    return Verdict(passed=context is None)\n")
    assert judge(verifier, CONTEXT) == Verdict(passed=True)
