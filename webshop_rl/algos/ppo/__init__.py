"""PPO over turns or tokens, with a critic."""
