"""Reads what sweeps recorded in MLflow, and says what it shows and what it does not.

Imports of webshop_rl only what knows nothing of training: pyproject.toml lists it. Imports its own modules
relatively, for in a wheel it lies within webshop_rl.
"""
