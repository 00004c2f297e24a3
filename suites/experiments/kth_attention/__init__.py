"""The suite `kth_attention`."""
