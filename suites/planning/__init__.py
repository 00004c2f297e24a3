"""What fits under a cap, and what it costs."""
