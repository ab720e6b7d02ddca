"""Evaluation: any policy on the same episodes, on record once, with intervals by product and tables."""
