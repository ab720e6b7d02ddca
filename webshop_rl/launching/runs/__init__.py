"""One run: its folder, its state, what is done with it, the process that executes it."""
