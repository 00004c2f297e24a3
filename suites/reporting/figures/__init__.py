"""Figures that several suites share."""
