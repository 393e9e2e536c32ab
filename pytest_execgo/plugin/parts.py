"""What shows a sweep elsewhere: each part is a plugin of its own, so that `-p no:<its name>` turns it off."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_execgo.plugin.session import ExecGoSession
from pytest_execgo.wiring.github import github_job


def parts(session: ExecGoSession) -> Iterator[tuple[str, object]]:
    """Yield the parts that this run needs, by their names as plugins; none in a worker, whose controller reports."""
    config, settings = session.config, session.settings
    if hasattr(config, "workerinput"):
        return
    if settings.dry_run:
        from pytest_execgo.plugin.dryrun import DryRun

        yield "execgo-dry-run", DryRun(session.sweep)
    page = config.getoption("htmlpath", None)  # unknown without pytest-html
    if page:
        from pytest_execgo.plugin.html import HtmlReport

        yield "execgo-html", HtmlReport(page, settings.out)
    file = config.getoption("xmlpath", None)
    if file:
        from pytest_execgo.plugin.junit import JunitXml

        yield "execgo-junit", JunitXml(file, settings.junit_properties)
    job = github_job()
    if job is not None:
        from pytest_execgo.plugin.github import GitHubReport

        yield "execgo-github", GitHubReport(job, session.sweep)
    if settings.matrix and settings.progress and not config.option.collectonly:
        from pytest_execgo.plugin.progress import ProgressLine

        yield "execgo-progress", ProgressLine(config)
