"""Layer 3: a run's one event stream, and the artifacts that are made of it."""
