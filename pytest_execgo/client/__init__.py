"""Layer 3: speaks ExecGo's HTTP API, from the caller's side."""
