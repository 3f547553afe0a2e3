"""Seasalt.ai's analytics as a Prometheus scrape target."""

__version__ = "0.1.0"
