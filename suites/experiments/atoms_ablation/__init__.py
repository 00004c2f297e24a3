"""The suite `atoms_ablation`."""
