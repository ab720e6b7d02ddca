"""Many runs: planned, handed over, watched, compared."""
