"""The kernel against a model: whatever is asked of it, in whatever order, and however it dies in between.

Effects are lines that tasks append to a file, so what really ran, how often and in which order does not depend on what the
kernel says of it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

ENDED = ("success", "failed", "skipped")
MAX_KILLS = 2
Kind = Literal["quick", "failing", "slow", "long"]
ENDINGS: dict[Kind, str] = {"quick": "true", "failing": "exit 3", "slow": "sleep 0.1", "long": "sleep 300"}


class Machine(RuleBasedStateMachine):
    """What was accepted, and what was seen of it."""

    start: Callable[..., Any]
    folder: Path
    numbers = itertools.count()

    def __init__(self) -> None:
        super().__init__()
        number = next(self.numbers)
        self.data, self.effects = self.folder / f"data{number}", self.folder / f"effects{number}"
        self.effects.touch()
        self.kernel = self.start("-data-dir", str(self.data), "-max-concurrency", "3")
        self.tasks: dict[str, dict[str, Any]] = {}
        self.kinds: dict[str, Kind] = {}
        self.deleted: set[str] = set()
        self.cancelled: set[str] = set()
        self.ended: dict[str, dict[str, Any]] = {}
        self.may_repeat: dict[str, int] = {}
        self.kills = 0

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        answer = self.kernel.call(method, path, body)
        assert answer.status < 500, answer.text
        return answer

    def known(self, draw: Any) -> str:
        return str(draw.draw(st.sampled_from(sorted(self.tasks))))

    def closure(self, ids: list[str]) -> list[str]:
        """Return tasks with all that they depend on, which a graph must name, too."""
        found = dict.fromkeys(ids)
        for task_id in ids:
            found |= dict.fromkeys(self.closure(list(self.tasks[task_id]["depends_on"])))
        return sorted(found)

    @rule(draw=st.data(), kinds=st.lists(st.sampled_from(list(ENDINGS)), min_size=1, max_size=3), once=st.booleans())
    def submit(self, draw: Any, kinds: list[Kind], once: bool) -> None:
        usable = [task_id for task_id in self.tasks if not self.deleted & set(self.closure([task_id]))]
        new = []
        for kind in kinds:
            task_id = f"t{len(self.tasks)}"
            parents = draw.draw(st.lists(st.sampled_from(usable), max_size=2, unique=True)) if usable else []
            script = f"echo {task_id} >> {self.effects}; {ENDINGS[kind]}"
            self.tasks[task_id] = {"id": task_id, "type": "shell", "params": {"script": script}, "depends_on": parents}
            if once:
                self.tasks[task_id]["annotations"] = {"effect": "once"}
            self.kinds[task_id] = kind
            self.may_repeat[task_id] = 0
            usable.append(task_id)
            new.append(task_id)
        graph = self.closure(new)
        answer = self.ask("POST", "/tasks", {"tasks": [self.tasks[task_id] for task_id in graph]})
        assert (answer.status, answer.json) == (202, {"accepted": len(graph), "task_ids": graph})

    @precondition(lambda self: self.tasks)
    @rule(draw=st.data())
    def submit_again(self, draw: Any) -> None:
        graph = self.closure([self.known(draw)])
        if not self.deleted & set(graph):
            assert self.ask("POST", "/tasks", {"tasks": [self.tasks[task_id] for task_id in graph]}).status == 202

    @precondition(lambda self: self.tasks)
    @rule(draw=st.data())
    def submit_other_content(self, draw: Any) -> None:
        task_id = self.known(draw)
        if task_id not in self.deleted:
            other = {"id": task_id, "type": "noop", "params": {"message": "other"}}
            answer = self.ask("POST", "/tasks", {"tasks": [{"id": "stowaway", "type": "noop"}, other]})
            assert (answer.status, answer.json) == (409, {"error": f'task id "{task_id}" already exists with other content'})
            assert self.ask("GET", "/tasks/stowaway").status == 404

    @precondition(lambda self: self.tasks)
    @rule(draw=st.data())
    def cancel(self, draw: Any) -> None:
        task_id = self.known(draw)
        answer = self.ask("POST", f"/tasks/{task_id}/cancel")
        assert answer.status in ((404,) if task_id in self.deleted else (200, 202))
        self.cancelled.add(task_id)

    @precondition(lambda self: self.tasks)
    @rule(draw=st.data())
    def delete(self, draw: Any) -> None:
        task_id = self.known(draw)
        assert self.ask("DELETE", f"/tasks/{task_id}").status == (404 if task_id in self.deleted else 204)
        self.deleted.add(task_id)

    @precondition(lambda self: self.tasks)
    @rule(draw=st.data(), until=st.sampled_from(["all", "any"]))
    def wait(self, draw: Any, until: str) -> None:
        ids = draw.draw(st.lists(st.sampled_from(sorted(self.tasks)), min_size=1, max_size=4, unique=True))
        answer = self.ask("POST", "/tasks/wait", {"task_ids": ids, "until": until, "timeout": "50ms"}).json
        assert set(answer["missing"]) == set(ids) & self.deleted
        over = [task["status"] in ENDED for task in answer["tasks"]]
        assert answer["done"] or not (all(over) if until == "all" else any(over) or not over)
        assert not answer["done"] or all(over) or (until == "any" and any(over))

    @precondition(lambda self: self.kills < MAX_KILLS and self.tasks)
    @rule()
    def die(self) -> None:
        self.kills += 1
        self.kernel.process.kill()
        self.kernel.process.wait()
        for task_id in self.tasks.keys() - self.ended.keys():
            told_to_end = task_id in self.cancelled | self.deleted
            self.may_repeat[task_id] += "annotations" not in self.tasks[task_id] and not told_to_end
        self.kernel = self.start("-data-dir", str(self.data), "-max-concurrency", "3")

    @invariant()
    def what_was_accepted_is_there_and_what_has_ended_stays(self) -> None:
        shown = {task["id"]: task for task in self.ask("GET", "/tasks").json}
        assert set(shown) == set(self.tasks) - self.deleted
        for task_id, task in shown.items():
            if task_id in self.ended:
                assert task == self.ended[task_id]
            elif task["status"] in ENDED:
                self.ended[task_id] = task

    def teardown(self) -> None:
        for task_id, kind in self.kinds.items():
            if kind == "long":
                self.cancel_at_last(task_id)
        left = [task_id for task_id in self.tasks if task_id not in self.deleted]
        if left:
            assert self.ask("POST", "/tasks/wait", {"task_ids": left, "timeout": "30s"}).json["done"]
        self.what_was_accepted_is_there_and_what_has_ended_stays()
        self.kernel.process.kill()
        self.kernel.process.wait()
        lines = self.effects.read_text().split()
        for task_id in self.deleted:
            assert lines.count(task_id) <= 1 + self.may_repeat[task_id]
        for task_id in left:
            self.judge(task_id, self.ended[task_id], lines)

    def cancel_at_last(self, task_id: str) -> None:
        if self.ask("POST", f"/tasks/{task_id}/cancel").status != 404:
            self.cancelled.add(task_id)

    def judge(self, task_id: str, task: dict[str, Any], lines: list[str]) -> None:
        """Hold a task's end to what it really did."""
        parents = self.tasks[task_id]["depends_on"]
        count = lines.count(task_id)
        assert count <= 1 + self.may_repeat[task_id], (task_id, count)
        match task["status"]:
            case "success":
                assert count >= 1
                assert self.kinds[task_id] in ("quick", "slow")
            case "skipped":
                assert count == 0
                reasons = {f"dependency {parent} {verb}" for parent in parents for verb in ("failed", "skipped", "deleted")}
                assert task["error"] in reasons
            case _:
                code = task["runtime"]["error"]["code"]
                assert code == "external_failure" or (code == "cancelled" and task_id in self.cancelled) or code == "unknown"
        if count:
            for parent in set(parents) - self.deleted:
                assert self.ended[parent]["status"] == "success"
        for parent in parents if count else ():
            first = lines.index(task_id)
            assert parent in lines[:first]
            assert lines[first:].count(parent) <= self.may_repeat[parent]  # a command of a killed kernel may write late


def test_the_kernel_keeps_its_promises_in_any_order(new_kernel: Callable[..., Any], tmp_path: Path) -> None:
    machine = type("Story", (Machine,), {"start": staticmethod(new_kernel), "folder": tmp_path})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=6, stateful_step_count=12, deadline=None, database=None, suppress_health_check=list(HealthCheck)
        ),
    )
