"""The suite `kth_tempo`."""
