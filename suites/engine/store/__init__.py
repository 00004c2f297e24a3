"""Where runs lie on disk: folders, index, leases, provenance, archives."""
