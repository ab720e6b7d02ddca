"""A*PO as weighted self-imitation (supervised fine-tuning on own trajectories)."""
