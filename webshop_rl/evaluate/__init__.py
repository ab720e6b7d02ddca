"""Evaluation alone: `python -m webshop_rl.evaluate RUN|CHECKPOINT|MODEL|POLICY [key=value ...]`."""
