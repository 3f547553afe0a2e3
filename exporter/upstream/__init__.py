"""Requests to Seasalt's APIs: client, rate limiter, retries, key health, and the sender."""
