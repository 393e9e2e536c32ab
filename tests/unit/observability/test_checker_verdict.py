"""The verdict on small histories written by hand: what is doubt, what is excused, what is said when an observer is missing."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_execgo.observability.checker import CHECKS, check
from pytest_execgo.plan.history import HistoryRow, HistoryVerdict, Observer

A, B = "r:s:a:1", "r:s:b:1"
DONE: dict[str, Any] = {"task": A, "digest": "d", "value": {"status": "success"}}


class Book:
    """Writes a history, a row a call; a row's moment is how many there are, unless it says `at`."""

    def __init__(self) -> None:
        self.rows: list[HistoryRow] = []
        self.seqs: dict[tuple[str, str], int] = {}

    def note(self, process: Observer, what: str, *, at: float | None = None, boot: str = "1", **rest: Any) -> Book:
        f, _, type = what.partition(" ")
        seq = self.seqs[process, boot] = self.seqs.get((process, boot), 0) + 1
        moment = len(self.rows) + 1 if at is None else at
        row: dict[str, Any] = {"run": "r", "seq": seq, "boot_id": boot, "monotonic_ns": int(moment * 1000), "wall": ""}
        self.rows.append(HistoryRow.model_validate({**row, "process": process, "type": type or "event", "f": f, **rest}))
        return self

    def client(self, what: str, **rest: Any) -> Book:
        return self.note("client", what, **rest)

    def kernel(self, what: str, **rest: Any) -> Book:
        return self.note("kernel", what, **rest)

    def submit(self, *tasks: str, answer: str = "ok", **told: Any) -> Book:
        self.client("submit invoke", digest="g", value={"tasks": list(tasks)})
        for task in tasks if answer == "ok" else ():
            self.kernel("accept", task=task, value={"depends_on": [], "effects": True, "once": False, **told})
        return self.client(f"submit {answer}", digest="g", value={"tasks": list(tasks)})

    def run(self, task: str, attempt: int = 1, **rest: Any) -> Book:
        return self.kernel("start", task=task, attempt=attempt, **rest).kernel("spawn", task=task, attempt=attempt, **rest)

    def finish(self, task: str, status: str = "success", *, attempt: int = 1, **rest: Any) -> Book:
        self.kernel("end", task=task, attempt=attempt, value={"outcome": status}, **rest)
        return self.kernel("persist", task=task, value={"status": status}, digest="d", **rest)

    def read(self, task: str, status: str = "success", **rest: Any) -> Book:
        self.client("read invoke", task=task)
        return self.client("read ok", task=task, value={"status": status, **rest}, digest="d" if status == "success" else None)

    def deliver(self, task: str | None, key: str, outcome: str = "applied", *, intent: float | None = None, **value: Any) -> Book:
        about: dict[str, Any] = {"task": task, "idem_key": key, "digest": key}
        self.note("sink", "intent", at=intent, **about)
        return self.note("sink", "deliver", **about, value={"outcome": outcome, "effect_id": f"e-{key}", **value})

    def fault(self, what: str, **value: Any) -> Book:
        return self.note("nemesis", what, value={"fault": 0, "action": "kill", "target": "kernel", **value})

    def end(self, *tasks: str) -> HistoryVerdict:
        self.client("quiet")
        for task in tasks:
            self.read(task)
        self.client("processes", value={"left": []})
        return check(self.rows)


def begun() -> Book:
    """A history up to where its only task runs."""
    return Book().kernel("boot").submit(A).run(A)


def done() -> Book:
    return begun().finish(A)


def convicted(verdict: HistoryVerdict) -> set[str]:
    return {violation.check for violation in verdict.violations}


def test_the_simplest_run_is_valid() -> None:
    verdict = done().end(A)
    assert (verdict.outcome, verdict.reasons, verdict.violations) == ("valid", [], [])
    assert verdict.counts["tasks_accepted"] == 1
    assert {name: verdict.counts[name] for name in CHECKS} == dict.fromkeys(CHECKS, 0)
    assert [name for name in CHECKS if not verdict.counts[f"{name}_checked"]] == ["zombie_writer"]


# -- nothing can be concluded ---------------------------------------------------------------------------------------------


def test_no_rows_at_all_are_unknown() -> None:
    verdict = check([])
    assert verdict.outcome == "unknown"
    assert verdict.reasons[0] == "nothing was accepted"


def test_a_run_that_was_cut_short_is_unknown() -> None:
    verdict = check(done().rows)
    assert verdict.outcome == "unknown"
    assert "the history has no quiet" in verdict.reasons[0]
    assert "stuck" not in verdict.counts


def test_an_accepted_task_that_nobody_read_is_unknown() -> None:
    verdict = done().end()
    assert verdict.outcome == "unknown"
    assert verdict.reasons == [f"accepted, and not read when everything was quiet: {A}"]


@pytest.mark.parametrize(
    ("faults", "reason"),
    [
        ([("fault_spared", {"hit": None, "drawn": True})], "fault 0 (kill kernel) never struck"),
        ([("fault_spared", {"hit": None})], "fault 0 (kill kernel) never struck"),
        ([("fault_spared", {"hit": None, "drawn": False})], None),
        ([("fault_start", {"hit": None})], "fault 0 (kill kernel) was never taken back"),
        ([("fault_start", {"hit": None}), ("fault_stop", {"hit": False})], "fault 0 (kill kernel) struck, but hit nothing"),
        ([("fault_start", {"hit": None}), ("fault_stop", {"hit": True})], None),
    ],
)
def test_a_fault_that_did_nothing_is_a_doubt(faults: list[tuple[str, dict[str, Any]]], reason: str | None) -> None:
    book = done()
    for what, value in faults:
        book.fault(what, **value)
    verdict = book.end(A)
    assert (verdict.outcome, verdict.reasons) == (("unknown", [reason]) if reason else ("valid", []))


@pytest.mark.parametrize("process", ["client", "kernel"])
def test_a_hole_in_the_rows_is_a_doubt(process: str) -> None:
    book = done()
    book.end(A)
    rows = [row for row in book.rows if (row.process, row.seq) != (process, 2)]
    verdict = check(rows)
    assert verdict.outcome == "unknown"
    assert f"rows of the {process} are missing or twice there (1): 3 where 2 should be" in verdict.reasons


def test_a_number_that_is_there_twice_is_a_doubt() -> None:
    book = done()
    book.end(A)
    again = book.rows[0].model_copy(update={"monotonic_ns": 1})
    assert check([*book.rows, again]).outcome == "unknown"


def test_rows_that_were_read_twice_count_once() -> None:
    book = begun().deliver(A, "k").finish(A)
    verdict = book.end(A)
    assert check([*book.rows, *book.rows[3:]]) == verdict
    assert verdict.outcome == "valid"


def test_rows_of_two_runs_are_a_doubt() -> None:
    book = done()
    book.end(A)
    other = book.rows[-1].model_copy(update={"run": "other", "boot_id": "2", "seq": 1})
    assert check([*book.rows, other]).reasons == ["the rows are of 2 runs: other, r"]


def test_a_violation_outweighs_every_doubt() -> None:
    verdict = check(done().run(A, 2).rows)
    assert verdict.outcome == "invalid"
    assert convicted(verdict) == {"non_monotonic"}
    assert "no quiet" in verdict.reasons[0]


# -- an observer is missing -----------------------------------------------------------------------------------------------


def test_without_the_kernel_its_checks_are_not_made() -> None:
    book = done()
    book.end(A)
    verdict = check([row for row in book.rows if row.process != "kernel"])
    assert verdict.outcome == "valid"
    assert {"reordered", "untruthful"} & set(verdict.counts) == set()
    assert verdict.reasons == [
        "no complete kernel rows: not checked: reordered, untruthful, lost in part",
        "no kernel rows: not checked: duplicated in part",
    ]
    assert verdict.counts["stuck_checked"] == 1


def test_without_the_kernel_what_clients_saw_still_convicts() -> None:
    book = done().read(A)
    book.client("quiet").read(A, "failed")
    verdict = check([row for row in book.rows if row.process != "kernel"])
    assert convicted(verdict) == {"non_monotonic"}


def test_without_the_kernel_an_older_state_still_convicts() -> None:
    book = done().read(A).read(A, "running")
    book.end(A)
    assert convicted(check([row for row in book.rows if row.process != "kernel"])) == {"stale_read"}


def test_without_a_look_at_processes_orphans_are_not_counted() -> None:
    verdict = check(done().client("quiet").read(A).rows)
    assert "orphan" not in verdict.counts
    assert verdict.reasons == ["no look at the processes that were left: not checked: orphan"]


# -- what nobody is convicted for -----------------------------------------------------------------------------------------


def test_a_task_that_its_client_deleted_is_not_lost() -> None:
    book = done().client("delete invoke", task=A).kernel("delete", task=A).client("delete ok", task=A).client("quiet")
    book.client("read invoke", task=A).client("read fail", task=A, value={"status_code": 404})
    assert check(book.rows).violations == []


def test_a_task_that_vanished_after_a_refused_delete_is_lost() -> None:
    book = done().client("delete invoke", task=A).client("delete fail", task=A).client("quiet")
    book.client("read invoke", task=A).client("read fail", task=A, value={"status_code": 404})
    assert convicted(check(book.rows)) == {"lost"}


def test_a_read_that_failed_otherwise_says_nothing_of_the_task() -> None:
    book = done().client("quiet").client("read invoke", task=A).client("read fail", task=A, value={"status_code": 503})
    verdict = check(book.rows)
    assert (verdict.outcome, verdict.violations) == ("unknown", [])


@pytest.mark.parametrize("told", ["there", "not there"])
def test_an_unanswered_submission_may_have_been_taken_in_or_not(told: str) -> None:
    book = done().client("submit invoke", digest="h", value={"tasks": [B]})
    book.client("submit info", digest="h", value={"tasks": [B]})
    if told == "there":
        book.kernel("accept", task=B, value={"depends_on": [], "effects": True}).run(B).finish(B)
    book.client("quiet").read(A).client("read invoke", task=B)
    if told == "there":
        book.client("read ok", **{**DONE, "task": B})
    else:
        book.client("read fail", task=B, value={"status_code": 404})
    assert check(book.rows).violations == []


def test_a_task_of_an_unanswered_submission_must_end_once_it_is_there() -> None:
    book = done().client("submit invoke", digest="h", value={"tasks": [B]})
    book.client("submit info", digest="h", value={"tasks": [B]}).kernel("accept", task=B, value={"depends_on": []})
    verdict = book.end(A)
    assert convicted(verdict) == {"stuck"}
    assert [row.f for row in verdict.violations[0].witness] == ["accept", "quiet"]


def test_reads_that_overlap_may_see_states_in_any_order() -> None:
    book = begun().client("read invoke", task=A).client("read invoke", task=A).finish(A)
    book.client("read ok", **DONE).client("read ok", task=A, value={"status": "running"})
    assert book.end(A).outcome == "valid"


def test_a_read_that_began_after_another_was_over_may_not() -> None:
    book = begun().client("read invoke", task=A).finish(A).client("read ok", **DONE).read(A, "running")
    verdict = book.end(A)
    assert convicted(verdict) == {"stale_read"}
    assert [row.value.get("status") for row in verdict.violations[0].witness] == ["success", "running"]


def test_within_a_life_a_task_does_not_go_back_to_waiting() -> None:
    book = begun().read(A, "running", attempt=1).read(A, "pending").finish(A)
    assert convicted(book.end(A)) == {"stale_read"}


def test_over_a_crash_it_may() -> None:
    book = begun().read(A, "running", attempt=1).kernel("boot", boot="2")
    told = {"depends_on": [], "effects": True, "once": False}
    book.kernel("recover", boot="2", task=A, attempt=1, value=told).read(A, "pending")
    book.run(A, 2, boot="2").finish(A, attempt=2, boot="2")
    assert book.end(A).outcome == "valid"


def test_an_attempt_that_was_not_durable_may_be_counted_again_after_a_crash() -> None:
    book = Book().kernel("boot").submit(A, effects=False).run(A).kernel("boot", boot="2")
    book.kernel("recover", boot="2", task=A, attempt=0, value={"effects": False}).run(A, boot="2").finish(A, boot="2")
    assert book.end(A).outcome == "valid"


def test_a_recovered_task_needs_no_row_of_its_acceptance() -> None:
    book = Book().kernel("boot").client("submit invoke", digest="g", value={"tasks": [A]})
    book.client("submit info", digest="g", value={"tasks": [A]}).client("submit invoke", digest="g", value={"tasks": [A]})
    book.kernel("boot", boot="2").kernel("recover", boot="2", task=A, attempt=0, value={"depends_on": [], "effects": True})
    book.client("submit ok", digest="g", value={"tasks": [A]}).run(A, boot="2").finish(A, boot="2")
    assert book.end(A).outcome == "valid"


def test_what_recovery_says_of_a_task_counts_like_its_acceptance() -> None:
    book = Book().kernel("boot").client("submit invoke", digest="g", value={"tasks": [A, B]})
    book.kernel("accept", task=A, value={"depends_on": [], "effects": True}).client("submit info", digest="g", value={})
    book.kernel("boot", boot="2").kernel("recover", boot="2", task=A, attempt=0, value={"depends_on": [], "effects": True})
    book.kernel("recover", boot="2", task=B, attempt=0, value={"depends_on": [A], "effects": True})
    book.run(B, boot="2").finish(B, boot="2").run(A, boot="2").finish(A, boot="2")
    assert convicted(book.end(A, B)) == {"reordered"}


def test_a_child_without_effects_needs_its_parents_end_only() -> None:
    book = Book().kernel("boot").submit(A)
    book.client("submit invoke", digest="h", value={"tasks": [B]})
    book.kernel("accept", task=B, value={"depends_on": [A], "effects": False}).client("submit ok", digest="h", value={"tasks": [B]})
    book.run(A).kernel("end", task=A, attempt=1, value={"outcome": "success"}).kernel("spawn", task=B, attempt=1)
    book.kernel("persist", **DONE).finish(B)
    assert book.end(A, B).outcome == "valid"


def test_a_child_of_a_failed_parent_must_not_run() -> None:
    book = Book().kernel("boot").submit(A)
    book.client("submit invoke", digest="h", value={"tasks": [B]})
    book.kernel("accept", task=B, value={"depends_on": [A], "effects": True}).client("submit ok", digest="h", value={"tasks": [B]})
    book.run(A).finish(A, "failed").run(B).finish(B)
    book.client("quiet").read(A, "failed").read(B)
    verdict = check(book.rows)
    assert convicted(verdict) == {"reordered"}
    assert [row.f for row in verdict.violations[0].witness] == ["accept", "persist", "spawn"]


# -- effects --------------------------------------------------------------------------------------------------------------


def test_repeated_and_refused_deliveries_are_counted_and_no_violation() -> None:
    book = begun().deliver(A, "k", token=1).deliver(A, "k", "repeated", token=1).deliver(A, "k", "conflict", token=1)
    book.deliver(A, "k", "fenced", token=0, effect_id="another")
    verdict = book.finish(A).end(A)
    assert (verdict.outcome, verdict.counts["deliveries_repeated"], verdict.counts["effects_applied"]) == ("valid", 1, 1)


def test_what_arrived_in_time_is_not_held_against_its_task() -> None:
    book = done()
    late = book.rows[-1].monotonic_ns / 1000 - 1.5
    assert book.deliver(A, "k", intent=late).end(A).outcome == "valid"
    assert convicted(done().deliver(A, "k").end(A)) == {"zombie_writer"}


@pytest.mark.parametrize("value", [{}, {"final": True}])
def test_only_a_confirmed_cancel_forbids_effects(value: dict[str, Any]) -> None:
    book = begun().client("cancel invoke", task=A).kernel("cancel", task=A).client("cancel ok", task=A, value=value)
    book.deliver(A, "k").finish(A, "failed").client("quiet").read(A, "failed")
    assert convicted(check(book.rows)) == ({"zombie_writer"} if value else set())


@pytest.mark.parametrize("value", [{"how": "cancel"}, {"obeyed": True}])
def test_only_a_stop_that_was_obeyed_forbids_effects(value: dict[str, Any]) -> None:
    book = begun().client("stop", value=value).deliver(None, "k").finish(A)
    assert convicted(book.end(A)) == ({"zombie_writer"} if "obeyed" in value else set())


def test_a_token_lower_than_one_before_it_convicts_between_submissions_of_a_task() -> None:
    again = "r:s:a:2"
    book = begun().submit(again).run(again)
    book.deliver(again, "k2", token=2).deliver(A, "k1", token=1)
    book.finish(A).finish(again)
    verdict = book.end(A, again)
    assert convicted(verdict) == {"zombie_writer"}
    assert [row.value["token"] for row in verdict.violations[0].witness] == [2, 1]


def test_tokens_of_unlike_tasks_are_not_compared() -> None:
    book = begun().deliver(A, "k1", token=2).deliver("r:s:b:1", "k2", token=1).finish(A)
    assert book.end(A).outcome == "valid"


def test_an_effect_that_had_to_be_applied_and_was_not() -> None:
    book = begun().deliver(A, "k").finish(A)
    book.end(A)
    assert check(book.rows, effects_expected={"k": A}).outcome == "valid"
    verdict = check(book.rows, effects_expected={"k": A, "l": A})
    assert convicted(verdict) == {"lost"}
    without_sink = [row for row in book.rows if row.process != "sink"]
    assert check(without_sink, effects_expected={"k": A}).outcome == "unknown"


def test_a_process_that_was_left_is_named() -> None:
    verdict = check(done().client("quiet").read(A).client("processes", value={"left": [{"pid": 7, "command": "sleep 9"}]}).rows)
    assert [violation.message for violation in verdict.violations] == ["process 7 of the run was left: sleep 9"]


def test_without_a_journal_a_task_that_was_read_was_accepted_though_the_answer_was_lost() -> None:
    def story() -> Book:
        book = Book().client("submit invoke", digest="g", value={"tasks": [A]})
        return book.client("submit info", digest="g", value={"tasks": [A]}).read(A, "running")

    verdict = story().end(A)
    assert (verdict.outcome, verdict.counts["tasks_accepted"], verdict.counts["lost_checked"]) == ("valid", 1, 1)
    lost = story().client("quiet").read(A, "absent")
    assert [violation.check for violation in check(lost.rows).violations] == ["lost"]
