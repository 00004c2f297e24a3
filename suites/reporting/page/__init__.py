"""The page of every table, figure and run."""
