"""The life of every tensor's storage."""
