"""Layer 3: chaos profiles, from files."""
