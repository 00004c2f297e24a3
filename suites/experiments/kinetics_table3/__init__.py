"""The suite `kinetics_table3`."""
