"""Every kind of fault that is built in, one module a family."""

from __future__ import annotations

from collections.abc import Mapping

from pytest_execgo.chaos.actions.containers import CONTAINER_ACTIONS
from pytest_execgo.chaos.actions.disk import DISK_ACTIONS
from pytest_execgo.chaos.actions.fixtures import FIXTURE_ACTIONS
from pytest_execgo.chaos.actions.flood import FLOOD_ACTIONS
from pytest_execgo.chaos.actions.machine import MACHINE_ACTIONS
from pytest_execgo.chaos.actions.model import MODEL_ACTIONS
from pytest_execgo.chaos.actions.network import NETWORK_ACTIONS
from pytest_execgo.chaos.actions.plan import PLAN_ACTIONS
from pytest_execgo.chaos.actions.run import RUN_ACTIONS
from pytest_execgo.chaos.actions.services import SERVICE_ACTIONS
from pytest_execgo.plan.fault import Action, PlanAction

ACTIONS: Mapping[str, Action | PlanAction] = {
    **PLAN_ACTIONS,
    **SERVICE_ACTIONS,
    **FIXTURE_ACTIONS,
    **NETWORK_ACTIONS,
    **MACHINE_ACTIONS,
    **DISK_ACTIONS,
    **FLOOD_ACTIONS,
    **CONTAINER_ACTIONS,
    **RUN_ACTIONS,
    **MODEL_ACTIONS,
}
"""The built-in actions by the names that profiles use."""
