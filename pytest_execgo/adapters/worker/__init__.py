"""The process in which a framework plans: its parent (`pool`, `process`), and its own side (`child`)."""
