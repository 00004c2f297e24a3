"""Experiment trackers, told of each run when it ends: its curves, its stages, its row.

A tracker is one file here with `send(run, folder)`, named by `--tracker`. What it writes lies under
trackers/NAME in the results folder; none needs a network.
"""
