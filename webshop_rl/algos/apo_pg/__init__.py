"""A*PO as a policy gradient."""
