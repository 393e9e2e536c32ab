"""Layer 4: figures of one run, and what many runs amount to."""
