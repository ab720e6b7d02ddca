"""Files and locks on a shared file system; knows nothing of runs' content."""
