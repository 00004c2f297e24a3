"""What rows look like: cells, statistics, differences between results."""
