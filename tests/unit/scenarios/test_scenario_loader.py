"""load_scenario: what it returns, and everything that it refuses, with places."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_execgo.core.errors import UsageError
from pytest_execgo.scenarios.loader import load_scenario

Make = Callable[..., Path]


def replaced(file: Path, old: str, new: str) -> Path:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    return file


def refusal(file: Path) -> str:
    with pytest.raises(UsageError) as caught:
        load_scenario(file)
    return str(caught.value)


def test_a_good_scenario(make_scenario: Make) -> None:
    file = make_scenario()
    scenario = load_scenario(file)
    assert (scenario.file, scenario.folder, scenario.fixtures) == (file, file.parent, file.parent / "fixtures")
    assert scenario.spec.allowed_tools == ["os.file", "runtime.command"]
    assert scenario.prompt_pack.model_dump() == {"system": "You plan.\n", "user": "Zähle die Wörter.\n", "constraints": ""}
    assert scenario.expected == {"words": 2}
    assert scenario.reference_plan == {"plan_id": "reference", "stages": []}, "the document is not validated here"
    assert len(scenario.digest) == 64


def test_expected_may_stand_in_the_file_and_fixtures_be_absent(make_scenario: Make) -> None:
    file = replaced(make_scenario(), "expected: expected.json", "expected: {words: 3}")
    replaced(file, "fixtures: fixtures\n", "")
    scenario = load_scenario(file)
    assert (scenario.expected, scenario.fixtures) == ({"words": 3}, None)


def test_json_and_toml_scenarios(make_scenario: Make) -> None:
    file = make_scenario()
    file.unlink()
    toml = file.with_suffix(".toml")
    toml.write_text(
        'id = "words"\ndescription = "d"\nseed = 1\nobjective = "o"\nverifier = "named"\nallowed_tools = ["os.fil"]\n'
        'reference_plan = "reference_plan.json"\n[prompt_pack]\nsystem = "prompts/system.md"\nuser = "prompts/user.md"\n'
    )
    assert f"{toml}:6: $.allowed_tools[0]: unknown tool 'os.fil'" in refusal(toml)
    assert load_scenario(replaced(toml, "os.fil", "os.file")).spec.verifier == "named"


def test_a_relative_path_gives_absolute_folders(make_scenario: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    file = make_scenario()
    monkeypatch.chdir(file.parent)
    scenario = load_scenario(Path("scenario.yaml"))
    assert (scenario.folder, scenario.file, scenario.fixtures) == (file.parent, file, file.parent / "fixtures")


CHANGES = [
    ("allowed_tools: [os.file", "allowed_tools: [os.fil", 12, "$.allowed_tools[0]: unknown tool 'os.fil'; did you mean 'os.file'?"),
    ("id: words", "id: word", 1, "$.id: found the text \"word\"; allowed: the name of the folder, 'words'"),
    ("seed: 7", "seed: true", 3, "$.seed: found true; allowed: an integer"),
    ("seed: 7", "sead: 7", 3, "$.sead: unknown field 'sead'; did you mean 'seed'?"),
    ("seed: 7\n", "", 1, "$.seed: required field 'seed' is missing"),
    ("prompts/user.md", "prompts/none.md", 8, "$.prompt_pack.user: there is no file "),
    ("prompts/user.md", "prompts", 8, "which is no file"),
    ("prompts/user.md", "../../user.md", 8, "$.prompt_pack.user: the text \"../../user.md\" contains '..'"),
    ("prompts/user.md", "/etc/passwd", 8, '$.prompt_pack.user: the text "/etc/passwd" is absolute'),
    ("fixtures: fixtures", "fixtures: fixture", 9, "$.fixtures: there is no folder "),
    ("fixtures: fixtures", "fixtures: verifier.py", 9, "which is no folder"),
    ("fixtures: fixtures", "fixtures: ''", 9, "$.fixtures: the text \"\" names no file"),
    ("expected: expected.json", "expected: 5", 10, "$.expected: found the number 5; allowed: an object or text"),
    ("expected: expected.json", "expected: gone.json", 10, "$.expected: there is no file "),
    ("verifier.py:verify", "verify.py:verify", 11, "$.verifier: there is no file "),
    ("verifier.py:verify", "verifier.py", 11, "$.verifier: found the text \"verifier.py\"; allowed: `file.py:function`"),
    ("verifier.py:verify", "verifier:verify", 11, "allowed: `file.py:function`"),
    ("verifier.py:verify", "verifier.py:a-b", 11, "allowed: `file.py:function`"),
    ("verifier.py:verify", "' '", 11, "$.verifier: is blank"),
    ("verifier.py:verify", "../words/verifier.py:verify", 11, "contains '..'"),
    ("out/report.json", "/tmp/report.json", 14, "$.artifacts.report: the text \"/tmp/report.json\" is absolute"),
    ("out/report.json", "out/../../x", 14, "$.artifacts.report: "),
    ("reference_plan.json", "plan.json", 15, "$.reference_plan: there is no file "),
    ("reference_plan.json", "prompts/user.md", None, "user.md: .md is no known format"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "line", "words"), CHANGES, ids=[f"{row[0].strip()} -> {row[1]}" for row in CHANGES])
def test_one_problem_with_its_line(make_scenario: Make, old: str, new: str, line: int | None, words: str) -> None:
    file = replaced(make_scenario(), old, new)
    message = refusal(file)
    assert ("(2 problems)" if new == "sead: 7" else "(1 problem)") in message, "a misspelt field is also missing"
    assert words in message
    if line:
        assert f"\n  {file}:{line}: " in message


def test_chaos_profiles_that_it_allows_must_be_there(make_scenario: Make) -> None:
    file = replaced(make_scenario(), "seed: 7", "seed: 7\nallowed_chaos: [storm, all, strm]")
    with pytest.raises(UsageError) as caught:
        load_scenario(file, chaos=("none", "storm"))
    said = "$.allowed_chaos[2]: unknown chaos profile 'strm'; did you mean 'storm'? allowed: all, none, storm"
    assert str(caught.value) == f"the scenario can't be used (1 problem):\n  {file}:4: {said}"
    assert load_scenario(file).spec.allowed_chaos == ["storm", "all", "strm"], "who knows no profiles looks at none"


def test_the_reference_plan_knows_its_lines(make_scenario: Make) -> None:
    file = make_scenario()
    plan = file.parent / "reference_plan.json"
    plan.write_text('{\n "plan_id": "p",\n "stages": []\n}')
    source = load_scenario(file).reference_source
    assert source is not None
    assert source.where("$.stages") == f"{plan}:3"


def test_all_problems_at_once_in_order_of_lines(make_scenario: Make) -> None:
    file = make_scenario()
    for old, new in [
        ("seed: 7", "seed: x"),
        ("os.file", "os.fill"),
        ("prompts/user.md", "u.md"),
        ("fixtures: fixtures", "fixtures: gone"),
    ]:
        replaced(file, old, new)
    (file.parent / "verifier.py").unlink()
    (file.parent / "expected.json").write_text('{"a": 1,\n "a": 2}')
    (file.parent / "reference_plan.json").write_text("[1]")
    lines = refusal(file).splitlines()
    assert lines[0] == "the scenario can't be used (7 problems):"
    starts = [f"  {file}:{number}: $.{name}" for number, name in
              [(3, "seed"), (8, "prompt_pack.user"), (9, "fixtures"), (11, "verifier"), (12, "allowed_tools[0]")]]  # fmt: skip
    assert [line[: len(start)] for line, start in zip(lines[1:6], starts, strict=True)] == starts
    rest = "\n".join(lines[6:])
    assert f"{file.parent}/expected.json:2:2: field 'a' stands here again" in rest
    assert f"{file.parent}/reference_plan.json:1:1: found a list of 1" in rest


def test_links_that_leave_the_folder(make_scenario: Make, tmp_path: Path) -> None:
    file = make_scenario()
    outside = tmp_path / "secret.md"
    outside.write_text("secret")
    (file.parent / "prompts" / "user.md").unlink()
    (file.parent / "prompts" / "user.md").symlink_to(outside)
    (file.parent / "fixtures" / "linked").symlink_to(tmp_path, target_is_directory=True)
    message = refusal(file)
    assert f'{file}:8: $.prompt_pack.user: the text "prompts/user.md" leads out of it through a symbolic link' in message
    assert "the symbolic link 'fixtures/linked' leads out of the scenario's folder" in message
    assert "secret\n" not in message


def test_links_within_the_folder_and_a_linked_scenario_are_fine(make_scenario: Make, tmp_path: Path) -> None:
    file = make_scenario()
    (file.parent / "prompts" / "user.md").unlink()
    (file.parent / "prompts" / "user.md").symlink_to("system.md")
    assert load_scenario(file).prompt_pack.user == "You plan.\n"
    (tmp_path / "words").mkdir()
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "words").symlink_to(file.parent, target_is_directory=True)
    assert load_scenario(tmp_path / "linked" / "words" / "scenario.yaml").spec.id == "words"


def test_prompts_must_be_text(make_scenario: Make) -> None:
    file = make_scenario()
    (file.parent / "prompts" / "user.md").write_bytes(b"ab\xff")
    assert "is not UTF-8 text (byte 2)" in refusal(file)


def test_all_is_no_name(make_scenario: Make) -> None:
    assert "'all' stands for every scenario" in refusal(make_scenario("all"))


def test_the_digest_is_of_contents_and_names(make_scenario: Make) -> None:
    first = load_scenario(make_scenario()).digest
    twin = make_scenario(within="elsewhere")
    assert load_scenario(twin).digest == first, "where the folder lies does not matter"
    (twin.parent / "__pycache__").mkdir()
    (twin.parent / "__pycache__" / "verifier.cpython-311.pyc").write_bytes(b"x")
    (twin.parent / ".DS_Store").write_bytes(b"x")
    os.utime(twin, (1, 1))
    assert load_scenario(twin).digest == first, "byproducts and times don't matter"
    text = twin.parent / "fixtures" / "text.txt"
    text.write_text("one two!\n")
    changed = load_scenario(twin).digest
    text.rename(text.with_name("texts.txt"))
    renamed = load_scenario(twin).digest
    (twin.parent / "recordings").mkdir()
    (twin.parent / "recordings" / "langgraph.json").write_text("{}")
    assert len({first, changed, renamed, load_scenario(twin).digest}) == 4


def test_the_digest_keeps_names_and_contents_apart(make_scenario: Make) -> None:
    file, twin = make_scenario(), make_scenario(within="elsewhere")
    (file.parent / "z").write_text("ab")
    (twin.parent / "za").write_text("b")
    assert load_scenario(file).digest != load_scenario(twin).digest


def test_a_pipe_in_the_folder_is_not_waited_for(make_scenario: Make) -> None:
    file = make_scenario()
    os.mkfifo(file.parent / "fixtures" / "pipe")
    assert load_scenario(file).digest
