"""V*: the estimator and the store of reference returns it is computed from."""
