"""The suite `kth_table1`."""
