"""Video files: decoding, seeking, damage."""
