"""The execution kernel: a service that speaks ExecGo's HTTP API (seed 004). Started as a process, never imported by the rest."""
