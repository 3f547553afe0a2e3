"""The domain's value types: APIs, reports, entries, targets, samples, windows, names."""
