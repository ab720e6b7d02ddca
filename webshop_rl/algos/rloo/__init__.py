"""RLOO: the policy gradient on returns less the mean of the rest of the group."""
