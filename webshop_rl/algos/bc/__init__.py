"""Cloning: the likelihood of what a demonstrator would do."""
