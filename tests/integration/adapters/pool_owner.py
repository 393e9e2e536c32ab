"""Has a pool with a planner that hangs, tells its pids, and waits to be killed."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from pytest_execgo.adapters.worker.pool import WorkerPool
from pytest_execgo.plan.planning import PlanningRequest


def main() -> None:
    def tell(value: Any) -> None:
        sys.stdout.write(json.dumps(value) + "\n")
        sys.stdout.flush()

    pool = WorkerPool(os.environ)
    pool.start("planners_for_tests:plan")
    tell(pool.pids())
    if sys.argv[2:] == ["leave"]:
        return
    pool.plan("planners_for_tests:hangs", PlanningRequest.model_validate_json(sys.argv[1]), tell)


main()
