"""Which actions there are: the built-in ones, what users add, what is refused of it, and where profiles can be used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pytest_execgo.chaos.actions import ACTIONS
from pytest_execgo.chaos.catalogue import merge_actions, targets_of, unusable
from pytest_execgo.chaos.loader import discover_profiles, load_profile
from pytest_execgo.chaos.network.legs import LEGS
from pytest_execgo.chaos.trigger import at_the_plan
from pytest_execgo.core.bundle import bundled
from pytest_execgo.core.errors import UsageError
from pytest_execgo.core.jsonio import read_json
from pytest_execgo.plan.chaos import ChaosProfile
from pytest_execgo.plan.fault import Action, PlanAction, Surroundings
from pytest_execgo.plan.stack import Service

SHIPPED = [bundled("chaos")]
PROFILES = discover_profiles(SHIPPED)
TARGETS = {*map(str, Service), *LEGS, "plan", "machine", "run", "model"}


class Own:
    """A whole action."""

    targets = frozenset({"kernel"})

    def problems(self, fault: Any) -> list[str]:
        return []

    def unusable(self, fault: Any, surroundings: Any) -> None:
        return None

    def apply(self, fault: Any, world: Any, draw: Any) -> Any:
        return None


class HalfAnAction:
    """Lacks `apply` and `targets`, and `disturb` too."""

    def problems(self, fault: Any) -> list[str]:
        return []

    def unusable(self, fault: Any, surroundings: Any) -> None:
        return None


def test_every_built_in_action_is_of_one_kind_and_has_known_targets() -> None:
    for name, action in ACTIONS.items():
        assert isinstance(action, Action) != isinstance(action, PlanAction), name
        assert targets_of(action) <= TARGETS
        assert targets_of(action)


def test_what_users_add_stands_beside_what_is_built_in() -> None:
    own = Own()
    merged = merge_actions([{"own": own}, {}])
    assert merged == {**ACTIONS, "own": own}
    assert "own" not in ACTIONS
    assert merge_actions([]) == ACTIONS


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ([["kill"]], "returned list"),
        ([{"kill": Own()}], "action 'kill' has the name of a built-in one"),
        ([{"own": Own()}, {"own": Own()}], "action 'own' has the name of another one that was added"),
        ([{"own": Own}], "'own' is the class Own"),
        ([{"own": HalfAnAction()}], "'own' is no action: it lacks targets, apply (or disturb)"),
        ([{"own": lambda: None}], "it lacks problems, unusable, targets, apply (or problems, unusable, disturb)"),
        ([{"my own": Own()}], "'my own' is no name of an action"),
        ([{5: Own()}], "5 is no name of an action"),
    ],
)
def test_what_can_not_be_added_is_refused(answers: list[object], said: str) -> None:
    with pytest.raises(UsageError) as refused:
        merge_actions(answers)
    assert refused.value.code == "bad_hook"
    assert refused.value.message == f"pytest_execgo_chaos_actions: {said}" or said in refused.value.message
    assert refused.value.hint


def test_a_profile_is_unusable_for_the_first_fault_that_is(make_fault: Any, near: Callable[..., Surroundings]) -> None:
    faults = [make_fault("kill", "kernel"), make_fault("kill", "runtime", trigger={"phase": "submit", "stage_id": "x"})]
    profile = ChaosProfile(id="p", description="", faults=faults)
    assert unusable(profile, ACTIONS, near()) == (
        "it waits for stage 'x', which the scenario's plan does not have (chaos profile 'p', fault 1: kill runtime)"
    )
    assert "fault 0: kill kernel" in str(unusable(profile, ACTIONS, near(capabilities=frozenset())))
    assert unusable(ChaosProfile(id="p", description=""), ACTIONS, near(capabilities=frozenset())) is None


@pytest.mark.parametrize("name", PROFILES)
def test_a_shipped_profile_loads_and_can_be_used_with_some_scenario(name: str, near: Callable[..., Surroundings]) -> None:
    profile = load_profile(name, SHIPPED)
    plans = [read_json(file) for file in bundled("scenarios").glob("*/reference_plan.json")]
    reasons = [unusable(profile, ACTIONS, near(plan=plan, mode="live", provider="mock")) for plan in plans]
    assert None in reasons
    assert profile.description.endswith(".")
    assert all(fault.probability == 1.0 for fault in profile.faults)
    assert (profile.recovery_expectation == "not_applicable") == (name == "none")
    for fault in profile.faults:
        assert at_the_plan(fault.trigger) or fault.trigger.event is not None, "what strikes at any event is hard to repeat"
        assert fault.trigger.delay_ms <= 100
        assert (fault.duration_ms or 0) <= 300


def test_the_shipped_profiles_together_use_every_action() -> None:
    used = {fault.action for name in PROFILES for fault in load_profile(name, SHIPPED).faults}
    assert used == set(ACTIONS)


def test_what_a_plan_fault_expects_is_what_its_checks_find() -> None:
    expected = {
        name: load_profile(name, SHIPPED) for name in ("invalid_tool", "bad_dependency", "missing_binding", "timeout_budget")
    }
    assert {name: (profile.expected_layer, profile.expected_code) for name, profile in expected.items()} == {
        "invalid_tool": ("plan", "unknown_tool"),
        "bad_dependency": ("plan", "unknown_dependency"),
        "missing_binding": ("binding", "binding_missing"),
        "timeout_budget": ("kernel", "stage_timeout"),
    }
