"""Runs on SLURM: submit, follow, resubmit."""
