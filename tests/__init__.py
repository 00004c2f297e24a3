"""Tests. What several of them share is imported as `tests.…`."""
