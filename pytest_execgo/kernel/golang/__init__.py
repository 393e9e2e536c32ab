"""Go's rules, which show on the wire: JSON, its kinds and error texts, quoting, times."""
