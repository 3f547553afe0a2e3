"""State that survives a restart: its content, its encoding, and the state file."""
