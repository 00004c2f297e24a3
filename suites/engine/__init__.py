"""Specs, runs and what executes them."""
