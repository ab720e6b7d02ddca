"""GRPO: the policy gradient on returns relative to the group's."""
