"""The suite `reduction`."""
