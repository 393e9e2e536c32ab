"""Everything that outlives the process: the store in SQLite, damage, recovery, ExecGo's state.json."""
