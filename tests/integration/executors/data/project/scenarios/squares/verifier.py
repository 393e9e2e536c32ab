"""Looks at what the flow told, at the file, and at what Metaflow might have left."""

from __future__ import annotations

from pytest_execgo import Verdict, VerifierContext


def verify(context: VerifierContext) -> Verdict:
    problems = []
    told = context.tasks["squares"].output
    if told["status"] != "succeeded" or told["output"]["total"] != context.expected["total"]:
        problems.append(f"the flow told {told}")
    if told["steps"]["square"] != {"status": "succeeded", "tasks": 5}:
        problems.append(f"its steps were {told['steps']}")
    kept = (context.workspace / "out/summary.txt").read_text()
    if kept != context.expected["summary"]:
        problems.append(f"summary.txt holds {kept!r}")
    left = [str(path) for path in context.workspace.rglob(".metaflow")]
    return Verdict.of(problems + [f"{path} was left behind" for path in left], total=told["output"]["total"])
