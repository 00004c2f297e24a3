"""The suite `kinetics_grid`."""
