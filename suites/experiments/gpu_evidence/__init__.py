"""The suite `gpu_evidence`."""
