"""The command line: flags, and one module per sub-command."""
