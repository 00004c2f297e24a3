"""The suite `kinetics_gradcam`."""
