"""Sends any picklable calls to a SLURM cluster, with their resources; what they do is their own."""
