"""Layer 5: turns a configuration into live objects. The only library code that reads the environment."""
