"""What is claimed about speed, as commands: `python -m benchmarks` runs all, each also runs alone."""
