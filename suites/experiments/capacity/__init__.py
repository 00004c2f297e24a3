"""The suite `capacity`."""
