"""Polling: plan, schedule, bot discovery, the poller of each workspace, and hot reload."""
