"""The cheapest plan, block by block, whose step fits under a cap."""
