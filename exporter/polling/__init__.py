"""What is asked when: plan, schedule, discovery, and the poller of each workspace."""
