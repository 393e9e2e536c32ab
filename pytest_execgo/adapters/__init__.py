"""Layer 3: agent frameworks, one file each. Each turns its framework's raw output into a StandardPlan."""
