"""A real Chromium, pages opened in it, and what must never happen in one of them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_execgo.benchmark.summary import summarise
from pytest_execgo.plan.result import BenchmarkResult, BenchmarkSummary
from pytest_execgo.plan.statistics import CellChange, CellOutcome, Comparison, ComparisonTest, GateResult
from pytest_execgo.reporting.page import build

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page, Request

GOLDEN = Path(__file__).parents[1] / "data/golden_sweep/runs"
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]


def missing(what: str) -> Any:
    """Skip, or fail where the environment says that these tests have to run."""
    if os.environ.get("EXECGO_TEST_BROWSER") == "required":
        pytest.fail(f"{what}, and EXECGO_TEST_BROWSER=required", pytrace=False)
    pytest.skip(what)


@pytest.fixture(scope="module")  # playwright's loop must not outlive these tests: others run loops of their own
def browser() -> Iterator[Browser]:
    """Start Chromium without a window."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("playwright is not installed (pip install playwright)")
    program = next(filter(None, map(shutil.which, CHROMIUMS)), None)
    if program is None:
        missing(f"no Chromium on PATH ({', '.join(CHROMIUMS)})")
    with sync_playwright() as play:
        found = play.chromium.launch(executable_path=program, args=FLAGS, timeout=120_000)
        yield found
        found.close()


@dataclass  # without slots: playwright notes its handlers in the object whose methods they are
class Watched:
    """Opens pages, and remembers all that must not happen: errors, dialogs, anything loaded from elsewhere."""

    browser: Browser
    folder: Path
    offences: list[str] = field(default_factory=list)
    _contexts: list[Any] = field(default_factory=list)

    def open(self, file: Path, fragment: str = "", *, width: int = 1280, scheme: str = "light", locale: str = "en-US") -> Page:
        """Open a file as somebody would who clicks on it; return once it is ready for use."""
        size: Any = {"width": width, "height": 900}
        look: Any = scheme
        context = self.browser.new_context(viewport=size, color_scheme=look, locale=locale)
        self._contexts.append(context)
        page: Page = context.new_page()
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.offences.append(f"error: {error}"))
        page.on("dialog", self._dialog)
        page.on("request", self._request)
        page.goto(f"{file.as_uri()}{fragment}")
        self.until(page, "performance.getEntriesByName('execgo-ready').length > 0")
        return page

    def until(self, page: Page, condition: str) -> None:
        """Wait, frame by frame, for a condition. (The page's policy forbids what playwright's own waiting would evaluate.)"""
        page.evaluate(f"""async () => {{
          const deadline = performance.now() + 60000;
          while (!({condition})) {{
            if (performance.now() > deadline) throw new Error({condition!r});
            await new Promise(requestAnimationFrame);
          }}
        }}""")

    def shot(self, page: Page, name: str) -> Path:
        """Keep a picture of a whole page."""
        target = self.folder / f"{name}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=target, full_page=True)
        return target

    def close(self) -> None:
        for context in self._contexts:
            context.close()

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.offences.append(f"console: {message.text}")

    def _dialog(self, dialog: Dialog) -> None:
        self.offences.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _request(self, request: Request) -> None:
        if not request.url.startswith(("file:", "data:", "blob:")):
            self.offences.append(f"request: {request.url}")


@pytest.fixture
def watched(browser: Browser, tmp_path: Path) -> Iterator[Watched]:
    """Open pages in which nothing may go wrong."""
    folder = Path(__file__).parents[2] / "var/ci/screenshots" if os.environ.get("CI") else tmp_path / "screenshots"
    found = Watched(browser, folder)
    yield found
    found.close()
    assert found.offences == []


def full_summary() -> BenchmarkSummary:
    """Return the golden sweep with everything that a summary may have."""
    summary = BenchmarkSummary.model_validate_json((GOLDEN / "benchmark-summary.json").read_text("utf-8"))
    span = {"started_at": summary.started_at, "finished_at": summary.finished_at, "wall_time_ms": summary.wall_time_ms}
    summary = summarise(summary.runs, sweep_id=summary.sweep_id, planned=8, **span)  # type: ignore[arg-type]
    failed = next(run for run in summary.runs if run.outcome == "failed" and run.chaos_profile == "runtime_restart")
    after = _outcome(failed)
    before = after.model_copy(update={"outcome": "passed", "reasons": [], "violations": 0})
    gone = after.model_copy(update={"cell_id": "0" * 16, "repetition": 3})
    test = ComparisonTest(what="all pairs", method="mcnemar_exact", before=(4, 4), after=(2, 4), p=0.04, p_adjusted=0.04, power=0.8)
    changes = [CellChange(kind="regression", before=before, after=after), CellChange(kind="removed", before=gone)]
    counts = {"paired": 4, "unpaired": 1, "regressions": 1, "improvements": 0}
    compared = Comparison(baseline_sweep="main", changes=changes, tests=[test], notes=["another version of python"], **counts)
    gates = [
        GateResult(condition="pass_rate>=0.9", passed=False, value=0.5, because=[f"relay cell {number}" for number in range(5)]),
        GateResult(condition="flake_rate<=0.1", passed=True, value=0.0),
    ]
    return summary.model_copy(update={"comparison": compared, "gates": gates})


def _outcome(run: BenchmarkResult) -> CellOutcome:
    fields = ("cell_id", "scenario_id", "framework", "mode", "chaos_profile", "repetition", "seed", "outcome")
    violations = len(run.history.violations) if run.history else 0
    return CellOutcome(**run.model_dump(include=set(fields)), wall_time_ms=90.0, violations=violations)


@dataclass(frozen=True, slots=True)
class Report:
    """A report on disk, beside the folders of its runs."""

    file: Path
    summary: BenchmarkSummary

    def run(self, framework: str, chaos: str) -> BenchmarkResult:
        """Return one of its runs."""
        return next(run for run in self.summary.runs if (run.framework, run.chaos_profile) == (framework, chaos))

    def cell(self, framework: str, chaos: str) -> str:
        """Return the fragment that opens a cell."""
        return f"#run={self.run(framework, chaos).run_id}"


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Write the golden sweep's report, with everything that a report may have."""
    out = tmp_path_factory.mktemp("report dir") / "runs #1"
    shutil.copytree(GOLDEN, out)
    summary = full_summary()
    (out / "report.html").write_text(build(summary, out), "utf-8")
    return Report(out / "report.html", summary)


@pytest.fixture(scope="session")
def wide_report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Write the report of a sweep of 600 cells, without artifacts."""
    out = tmp_path_factory.mktemp("wide")
    template = full_summary().runs[0]
    runs = [_renamed(template, number) for number in range(600)]
    span: dict[str, Any] = {"started_at": template.started_at, "finished_at": template.finished_at, "wall_time_ms": 1.0}
    summary = summarise(runs, sweep_id="wide", **span)
    (out / "report.html").write_text(build(summary, out), "utf-8")
    return Report(out / "report.html", summary)


def _renamed(run: BenchmarkResult, number: int) -> BenchmarkResult:
    """Return a run as another cell's; of fifty, one failed."""
    changed = {
        "scenario_id": f"scenario_{number % 4}",
        "framework": f"framework_{number // 4 % 3}",
        "chaos_profile": f"profile_{number // 12:02}",
        "run_id": f"run-{number:04}",
        "cell_id": f"{number:016x}",
        "outcome": "failed" if number % 50 == 7 else "passed",
        "error": None,
    }
    return run.model_copy(update=changed)


Building = Callable[..., Report]


@pytest.fixture
def built(tmp_path: Path) -> Building:
    """Write the report of a summary that a test makes."""

    def write(summary: BenchmarkSummary, out: Path = tmp_path) -> Report:
        (out / "report.html").write_text(build(summary, out), "utf-8")
        return Report(out / "report.html", summary)

    return write
