"""Download, verify, preview and generate data sets."""
