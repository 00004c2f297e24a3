"""The suite `tempo_sweep`."""
