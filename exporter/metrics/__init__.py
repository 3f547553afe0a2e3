"""From values to the bytes of `/metrics`: the store, the text, and what the exporter counts."""
