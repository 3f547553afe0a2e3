"""The HTTP side of the exporter: server, access control and pages."""
