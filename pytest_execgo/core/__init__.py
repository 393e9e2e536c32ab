"""Layer 1: errors, atomic files, JSON, processes, serving. Knows nothing of plans."""
