"""What we know of the analytics API: one file per metric, and nothing else."""
