"""Layer 2: the StandardPlan DSL, every other data shape, and the Protocols between parts."""
