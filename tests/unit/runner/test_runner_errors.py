"""What we, the machine or others' code could not do is an error or a skip, told with its reason; never a verdict."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_execgo.client.kernel import KernelRefused
from pytest_execgo.core.errors import MissingDependency, StackError, Unsupported, UsageError
from pytest_execgo.plan.cell import Cell
from pytest_execgo.plan.stack import Capability, Service, ServiceStatus
from pytest_execgo.plan.verdict import Verdict
from pytest_execgo.runner.run import run_cell

if TYPE_CHECKING:
    from tests.unit.runner.conftest import World

CELL = Cell("demo", "langgraph", "replay", "none")


@pytest.mark.parametrize("verdict", [None, True, "passed", Verdict(passed=True, details={"x": object()})])
def test_what_is_no_verdict_is_an_error(world: World, verdict: object) -> None:
    world.verifier = lambda _: verdict
    result = world.run()
    assert (result.outcome, result.verdict) == ("error", None)
    assert result.error is not None
    assert "verifier" in result.error


def test_a_verifier_that_breaks_is_an_error_not_a_verdict(world: World) -> None:
    world.verifier = lambda context: context.expected["total"]
    result = world.run()
    assert (result.outcome, result.verdict, result.attribution) == ("error", None, None)
    assert result.error is not None
    assert "KeyError: 'total'" in result.error
    assert result.outcome_digest is None


@pytest.mark.parametrize(
    "reason", [Unsupported("live_unsupported", "not here", "use replay"), MissingDependency("m", "no crewai", "pip install x")]
)
@pytest.mark.parametrize("mode", ["replay"])
def test_what_is_not_available_skips_the_cell_with_the_way_out(world: World, reason: Exception, mode: Any) -> None:
    class Unavailable:
        def live(self, *_: object) -> None:
            raise reason

        replay = live

    world.adapter = Unavailable()
    result = world.run(replace(CELL, mode=mode), planned=False)
    assert (result.outcome, result.error, result.verdict) == ("skipped", str(reason), None)


def test_an_adapter_that_breaks_is_an_error_that_names_it(world: World) -> None:
    class Broken:
        def replay(self, *_: object) -> None:
            raise KeyError("choices")

    world.adapter = Broken()
    result = world.run(planned=False)
    assert result.outcome == "error"
    assert result.error is not None
    assert result.error.startswith("the adapter of langgraph raised KeyError('choices')")


def test_a_trace_that_can_not_be_written_is_an_error_that_names_it(world: World) -> None:
    real = world.adapter

    class Odd:
        def replay(self, *arguments: Any) -> Any:
            return replace(real.replay(*arguments), trace={"raw": object()})

    world.adapter = Odd()
    result = world.run(planned=False)
    assert result.outcome == "error"
    assert result.error is not None
    assert "adapter_trace.json" in result.error


def test_a_dead_kernel_is_an_error_that_names_its_log_and_its_last_words(world: World) -> None:
    def die(_: object) -> None:
        world.kernel.down, world.stack.running = True, False

    world.kernel.on_submit = die
    result = world.run()
    assert result.outcome == "error"
    assert result.error is not None
    assert "the kernel died during the run (exit code -9), its log is /logs/kernel.log" in result.error
    assert "Connection refused" in result.error
    assert "the last 10 lines of the kernel" in result.error


def test_a_kernel_that_is_gone_on_a_backend_without_logs_is_an_error_too(world: World) -> None:
    def die(_: object) -> None:
        world.kernel.down, world.stack.running = True, False

    world.stack.capabilities = frozenset(Capability) - {Capability.LOGS}
    world.kernel.on_submit = die
    result = world.run()
    assert result.outcome == "error"
    assert result.error is not None
    assert "the kernel is gone; GET http://kernel.test: Connection refused" in result.error


def test_a_kernel_that_runs_but_does_not_answer_is_told_apart(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_execgo.runner.diagnosis._EXIT_NEWS", 0.0)

    def hang(_: object) -> None:
        world.kernel.down = True

    world.kernel.on_submit = hang
    result = world.run()
    assert result.outcome == "error"
    assert result.error is not None
    assert "runs but did not answer" in result.error


def test_a_kernel_that_is_only_paused_did_not_die(world: World) -> None:
    def pause(_: object) -> None:
        world.kernel.down = True
        paused = [ServiceStatus(Service.KERNEL, running=False, url="http://kernel.test", pid=7)]
        world.stack.status = lambda: paused  # type: ignore[method-assign]

    world.kernel.on_submit = pause
    result = world.run()
    assert result.outcome == "error"
    assert result.error is not None
    assert "runs but did not answer" in result.error


@pytest.mark.parametrize(
    "refusal", [KernelRefused("refused", "a bearer token is required", status_code=401), KernelRefused("bad_answer", "not JSON")]
)
def test_a_kernel_that_refuses_us_is_an_error(world: World, refusal: KernelRefused) -> None:
    world.kernel.refuse = refusal
    result = world.run()
    assert (result.outcome, result.error) == ("error", str(refusal))


def test_a_fixtures_service_that_is_gone_is_an_error(world: World) -> None:
    def gone(run: str | None = None) -> int:
        raise StackError("fixtures_unreachable", "the effect sink did not answer")

    world.effects.applied_effects = gone  # type: ignore[method-assign]
    result = world.run(planned=False)
    assert (result.outcome, result.error) == ("error", "the effect sink did not answer")


def test_a_machine_that_fails_is_an_error_that_says_so(world: World) -> None:
    def full(_: object) -> None:
        raise OSError(28, "No space left on device")

    world.kernel.on_submit = full
    result = world.run()
    assert result.outcome == "error"
    assert result.error is not None
    assert result.error.startswith("the machine: ")
    assert "No space left" in result.error


def test_an_output_folder_that_can_not_be_used_is_a_usage_error(world: World) -> None:
    world.out.write_text("a file")
    with pytest.raises(UsageError) as refused:
        run_cell(CELL, world.parts())
    assert refused.value.code == "artifacts_folder_unusable"
    assert world.kernel.submitted == []
