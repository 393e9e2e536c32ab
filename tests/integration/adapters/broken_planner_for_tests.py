"""A planner whose framework can't be imported."""

raise ImportError("half of it is missing")
