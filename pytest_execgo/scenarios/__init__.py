"""Layer 3: scenarios from folders, and their verifiers."""
