"""Suites of runs: specs, the store, the runner, tables, figures and the commands."""
