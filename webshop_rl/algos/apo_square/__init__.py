"""A*PO with a squared loss on the scaled advantage, for comparison."""
