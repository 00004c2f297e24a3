"""The suite `single`."""
