"""The way to Seasalt's APIs: client, limiter, retries, key health, and the sender that joins them."""
