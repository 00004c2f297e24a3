"""Decoded frames: the cache, fingerprints, packs."""
