"""Algorithms: advantages and losses as pure functions, one short folder per algorithm.

Importing this package, or the config module of an algorithm, imports no torch.
"""
