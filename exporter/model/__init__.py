"""The domain as values: APIs, reports, entries, targets, samples, windows, names."""
