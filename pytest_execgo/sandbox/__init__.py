"""Code in isolation (seed 002): one request in, one bounded, truthful result out."""
