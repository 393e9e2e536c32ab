"""Layer 3: who serves the models that plan live, and the gateway between a planner and its model."""
