"""Datasets, decoding, the frame cache, clip sampling and transforms."""
