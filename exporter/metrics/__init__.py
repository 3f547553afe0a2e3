"""From values to the bytes of `/metrics`: store, exposition, and the exporter's own metrics."""
