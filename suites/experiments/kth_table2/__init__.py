"""The suite `kth_table2`."""
