"""Layer 4: takes one cell from its plan to its verdict."""
