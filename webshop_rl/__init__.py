"""webshop-rl: sweeps of agent reinforcement learning on WebShop, with verdicts you can believe."""

__version__ = "0.1.0"
