"""The suite `layer_speed`."""
