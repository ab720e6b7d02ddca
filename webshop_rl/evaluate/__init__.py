"""Evaluation alone: `webshop-rl evaluate RUN|CHECKPOINT|MODEL|POLICY [key=value ...]`."""
