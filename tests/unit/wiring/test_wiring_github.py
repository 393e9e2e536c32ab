"""What is known of a job of GitHub Actions."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_execgo.wiring.github import GitHubJob, github_job

PLACE = {"GITHUB_SERVER_URL": "https://github.com", "GITHUB_REPOSITORY": "o/r", "GITHUB_SHA": "c0ffee"}


@pytest.mark.parametrize("said", [{}, {"GITHUB_ACTIONS": "false"}, {"GITHUB_ACTIONS": ""}, {"CI": "true"}])
def test_elsewhere_there_is_no_job(said: dict[str, str]) -> None:
    assert github_job({**PLACE, "GITHUB_STEP_SUMMARY": "/x", **said}) is None


def test_a_job_knows_its_checkout_and_where_its_files_are_shown(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "checkout", target_is_directory=True)
    said = {"GITHUB_ACTIONS": "true", "GITHUB_WORKSPACE": str(tmp_path / "link"), "GITHUB_STEP_SUMMARY": "/run/summary", **PLACE}
    job = github_job(said)
    assert job == GitHubJob(tmp_path / "checkout", Path("/run/summary"), "https://github.com/o/r/blob/c0ffee")
    assert job.within(tmp_path / "checkout" / "scenarios" / "a.yaml") == "scenarios/a.yaml"
    assert job.within(tmp_path / "elsewhere" / "a.yaml") is None


@pytest.mark.parametrize("missing", sorted(PLACE))
def test_what_is_not_said_is_not_known(missing: str) -> None:
    job = github_job({"GITHUB_ACTIONS": "true", **PLACE, missing: ""})
    assert job == GitHubJob(None, None, None)
    assert job.within(Path("/a/b")) is None
