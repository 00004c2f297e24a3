"""The suite `memory_caps`."""
