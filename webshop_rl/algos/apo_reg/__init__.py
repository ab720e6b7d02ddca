"""A*PO as the regression of its paper."""
