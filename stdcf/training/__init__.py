"""Stages and schedules, the training step, the trainer, checkpoints and evaluation."""
