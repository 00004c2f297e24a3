"""The suite `rivals`."""
