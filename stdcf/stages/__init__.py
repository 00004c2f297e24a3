"""Stages and schedules, and what a stage does to a model."""
