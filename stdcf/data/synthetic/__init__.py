"""The synthetic actions: figures, motion, files."""
