"""What the guides show, works: the first steps, the pipelines, the texts that troubleshooting quotes."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pytest_execgo.wiring.options import OPTIONS

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
README = (ROOT / "README.md").read_text()


def page(name: str) -> str:
    return (DOCS / name).read_text()


def steps(text: str) -> Iterator[tuple[str, str, str]]:
    """Yield a page's code blocks in order: the file that the line before one names (or ""), its language, its contents."""
    yield from re.findall(r"(?:^`([\w/.]+)`:\n\n)?^```(\w+)\n(.*?)^```$", text, re.S | re.M)


def run(folder: Path, command: str) -> None:
    """Run one line of a page where it is meant to be run; it must succeed."""
    words = shlex.split(command.partition(" #")[0])
    if words[0] == "pytest":
        words = ["python", "-m", "pytest", "-p", "no:cacheprovider", *words[1:]]
    assert words[0] == "python", command
    others = tuple(name for name in os.environ if name.startswith(("PYTEST_", "GITHUB_")) and name != "PYTEST_ADDOPTS")
    env = {name: value for name, value in os.environ.items() if name not in others}
    finished = subprocess.run(
        [sys.executable, *words[1:]], cwd=folder, env=env, capture_output=True, text=True, timeout=180, check=False
    )
    assert finished.returncode == 0, f"{command}\n{finished.stdout[-8000:]}{finished.stderr[-2000:]}"


def hello(folder: Path) -> None:
    """Write the scenario of the first steps into a project."""
    for file, _, block in steps(page("getting-started.md")):
        if file.startswith("scenarios/"):
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text(block)


def test_the_first_steps_lead_somewhere(tmp_path: Path) -> None:
    done = 0
    for file, language, block in steps(page("getting-started.md")):
        if file:
            (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / file).write_text(block)
        elif language == "sh":
            for line in block.splitlines():
                run(tmp_path, line)
                done += 1
    assert done >= 10
    assert (tmp_path / "var/again/report.html").is_file()
    assert (tmp_path / "baseline.json").is_file()


def test_what_the_first_steps_break_fails_as_they_say(tmp_path: Path) -> None:
    hello(tmp_path)
    text = page("getting-started.md")
    right, wrong = re.findall(r"make `(.+?)` a `(.+?)`", text)[0]
    plan = tmp_path / "scenarios/hello/reference_plan.json"
    assert plan.read_text().count(right) == 1
    plan.write_text(plan.read_text().replace(right, wrong))
    with pytest.raises(AssertionError, match="3 failed") as failed:
        run(tmp_path, "pytest --execgo-matrix")
    (shown,) = (block for _, language, block in steps(text) if language == "text" and "run again" in block)
    for line in shown.splitlines():
        assert line == "…" or line in str(failed.value)


def test_the_first_steps_use_the_environment_that_they_make(tmp_path: Path) -> None:
    install, *_ = (block for _, language, block in steps(page("getting-started.md")) if language == "text")
    lines = install.splitlines()
    assert lines[:2] == ["python3 -m venv .venv", ". .venv/bin/activate"]
    script = f"set -e\n{lines[1]}\ncommand -v python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", ".venv"], cwd=tmp_path, check=True, timeout=60)
    found = subprocess.run(["sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60)
    assert Path(found.stdout.strip()) == tmp_path / ".venv/bin/python"


def test_the_pipelines_say_what_they_install() -> None:
    text = page("ci.md")
    assert "pip install -r requirements.txt" in text
    version = re.findall(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.M)[0]
    assert f"pytest_execgo-{version}-py3-none-any.whl" in text


def commands_of(pipeline: Any) -> list[str]:
    """Return every command of a pipeline that is ours, in order, with the axes of its jobs filled in."""
    found: list[str] = []
    for job in (pipeline.get("jobs") or pipeline).values():
        if not isinstance(job, dict):
            continue
        lines = [step["run"] for step in job.get("steps", ()) if "run" in step] + job.get("script", [])
        axes = job.get("strategy", {}).get("matrix", {})
        for line in lines:
            if not line.startswith(("pytest", "python -m pytest_execgo")):
                continue
            values = axes.get("framework", [""])
            found += [line.replace("${{ matrix.framework }}", value) for value in values]
    return found


@pytest.mark.parametrize("number", range(3))
def test_the_pipelines_run(tmp_path: Path, number: int) -> None:
    pipeline = yaml.safe_load([block for _, language, block in steps(page("ci.md")) if language == "yaml"][number])
    hello(tmp_path)
    run(tmp_path, "pytest --execgo-matrix --execgo-out=first --execgo-baseline save=baseline.json")
    commands = commands_of(pipeline)
    assert commands
    for command in commands:
        out = "runs"
        framework = re.search(r"--execgo-framework (\w+)", command)
        if framework:  # each job is on a machine of its own; the artifacts' names keep them apart
            out = f"shards/runs-{framework[1]}"
        run(tmp_path, command.replace("--execgo-out=runs", f"--execgo-out={out}"))
    assert list(tmp_path.rglob("report.html"))


def test_troubleshooting_quotes_what_is_said() -> None:
    sources = "\n".join(file.read_text() for file in (ROOT / "pytest_execgo").rglob("*.py"))
    quoted = re.findall(r"^\| (`[^|]+) \|", page("troubleshooting.md"), re.M)
    assert len(quoted) > 15
    for cell in quoted:
        for text in re.findall(r"`([^`]+)`", cell):
            for part in filter(None, (piece.strip(" :") for piece in text.split("…"))):
                said = part.removeprefix("history_").removeprefix("unknown ")  # words that are put together
                assert said in sources, f"nobody says {part!r}"


def test_every_page_is_linked_from_the_readme_and_every_link_leads_somewhere() -> None:
    linked = set(re.findall(r"\(docs/([\w-]+\.md)\)", README))
    assert linked == {file.name for file in DOCS.glob("*.md")}
    for file in [ROOT / "README.md", *DOCS.glob("*.md"), *ROOT.glob("README.*.md")]:
        for target, heading in re.findall(r"\]\(([^)#\s]*)(?:#([\w-]*))?\)", file.read_text()):
            if "://" not in target:
                led_to = file.parent / target if target else file
                assert led_to.exists(), f"{file.name} links {target}"
                assert not heading or heading in headings(led_to), f"{file.name} links {target}#{heading}"


def headings(file: Path) -> set[str]:
    """Return the names by which a page's headings are linked."""
    found = re.findall(r"^#+ (.+)$", file.read_text(), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in found}


def test_options_named_in_the_pages_exist() -> None:
    known = {option.name for option in OPTIONS}
    for file in [ROOT / "README.md", *DOCS.glob("*.md"), *ROOT.glob("README.*.md")]:
        for name in re.findall(r"--execgo-([a-z-]+)", file.read_text()):
            assert name.rstrip("-") in known or name.endswith("-"), f"{file.name} names --execgo-{name}"
