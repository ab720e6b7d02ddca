"""webshop-rl: sweeps of agent reinforcement learning on WebShop, with verdicts you can believe."""

import os

__version__ = "0.1.0"

# Threads of a parallel loop that wait by spinning take the core from those that still work, wherever
# cores are shared: seen here as updates of 30 s instead of 0.4 s. libgomp reads this when it is loaded.
os.environ.setdefault("GOMP_SPINCOUNT", "20000")
