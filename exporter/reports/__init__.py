"""Everything known about the analytics API's metrics: one file per metric, and nothing else."""
