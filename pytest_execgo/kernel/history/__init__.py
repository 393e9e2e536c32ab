"""The kernel's part in the history of a run: what it notes of its tasks, and how that is read."""
