"""Clips: splits, sampling, crops, transforms, loading."""
