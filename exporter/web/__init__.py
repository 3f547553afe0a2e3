"""What the exporter serves, and who may ask for it: server, access, pages."""
