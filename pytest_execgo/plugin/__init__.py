"""Layer 7: speaks pytest. Only `entry` is imported by a run that doesn't use us."""
