"""A table and its formats."""
