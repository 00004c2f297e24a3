"""The suite `rate_sweep`."""
