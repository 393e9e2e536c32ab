"""What became of a service that a run could not do without."""

from __future__ import annotations

import time

from pytest_execgo.client.kernel import KernelClient, KernelRefused, KernelUnreachable
from pytest_execgo.core.errors import StackError
from pytest_execgo.plan.stack import Capability, Service, ServiceStatus, Stack
from pytest_execgo.plan.verdict import Attribution, Layer

_EXIT_NEWS = 2.0  # seconds within which a backend learns that a process of its own has ended


def kernel_gone(stack: Stack, client: KernelClient, unreachable: KernelUnreachable) -> StackError:
    """Return what to tell: the kernel died, with its log as far as the backend has one, or it runs and did not answer."""
    status = _kernel_status(stack, client)
    if status is None or status.running or status.pid is not None:  # what is only paused has a pid
        return StackError(unreachable.code, unreachable.message, "the kernel runs but did not answer")
    if Capability.LOGS not in stack.capabilities:
        return StackError("kernel_died", f"the kernel is gone; {unreachable.message}", "look for why where it was started")
    log = f", its log is {status.log}" if status.log else ""
    message = f"the kernel died during the run (exit code {status.exit_code}){log}; {unreachable.message}"
    return StackError("kernel_died", message, f"it wrote last:\n{stack.logs(Service.KERNEL, tail=10)}")


_BEHIND: dict[Layer, Service] = {"runtime": Service.RUNTIME, "fixture": Service.FIXTURES}


def service_gone(stack: Stack, attribution: Attribution) -> StackError | None:
    """Return what to tell when a task failed because the service behind it is gone; None when that service runs."""
    service = _BEHIND.get(attribution.layer)
    status = next((row for row in stack.status() if row.service is service), None)
    if status is None or status.running:
        return None
    log = f" (exit code {status.exit_code}), its log is {status.log}" if status.log else ""
    return StackError(f"{service}_died", f"the {service} service died during the run{log}; {attribution.message}")


def _kernel_status(stack: Stack, client: KernelClient) -> ServiceStatus | None:
    """Return how the kernel is. A reset connection is known before the exit that caused it, so a refusal is asked again."""
    deadline = time.monotonic() + _EXIT_NEWS
    while True:
        status = {row.service: row for row in stack.status()}.get(Service.KERNEL)
        if status is None or not status.running or time.monotonic() > deadline:
            return status
        try:
            client.health()
        except KernelUnreachable:
            time.sleep(0.02)
            continue
        except KernelRefused:  # an answer, if not a good one
            return status
        return status
