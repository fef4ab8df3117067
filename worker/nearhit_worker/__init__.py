"""Worker: the process around the write path, its command line and its embedded stack."""
