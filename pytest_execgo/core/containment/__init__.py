"""What keeps commands within bounds: their environment, and the isolation that they run in. Standard library only."""
