"""Whether this is a job of GitHub Actions, and what is to be known of it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class GitHubJob:
    """A job: its checkout, the file that takes the step's summary, and the URL under which the checkout's files are shown.

    Each is None where GitHub does not say it.
    """

    workspace: Path | None
    step_summary: Path | None
    files_url: str | None

    def within(self, path: Path) -> str | None:
        """Return a file's path within the checkout; None if it lies elsewhere."""
        if self.workspace is None or not path.is_relative_to(self.workspace):
            return None
        return path.relative_to(self.workspace).as_posix()


def github_job(environment: Mapping[str, str] | None = None) -> GitHubJob | None:
    """Return the job that this process runs in; None if it runs in none."""
    variables = os.environ if environment is None else environment
    if variables.get("GITHUB_ACTIONS") != "true":
        return None
    workspace, summary = variables.get("GITHUB_WORKSPACE"), variables.get("GITHUB_STEP_SUMMARY")
    parts = [variables.get(f"GITHUB_{name}") for name in ("SERVER_URL", "REPOSITORY", "SHA")]
    known = [part for part in parts if part]
    return GitHubJob(
        workspace=Path(workspace).resolve() if workspace else None,
        step_summary=Path(summary) if summary else None,
        files_url=f"{known[0]}/{known[1]}/blob/{known[2]}" if len(known) == len(parts) else None,
    )
