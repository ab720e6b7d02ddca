"""Reads what sweeps recorded in MLflow, and says what it shows and what it does not.

Imports nothing of webshop_rl but the names of its metrics (webshop_rl.tracking.names).
"""
