"""The suite `something_table4`."""
