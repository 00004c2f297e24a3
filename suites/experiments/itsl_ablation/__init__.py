"""The suite `itsl_ablation`."""
