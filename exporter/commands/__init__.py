"""One file per sub-command; each imports what it needs, and is imported when it is asked for."""
