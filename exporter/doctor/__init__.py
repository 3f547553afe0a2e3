"""The examination of an account: what its API does where the documents leave it open."""
