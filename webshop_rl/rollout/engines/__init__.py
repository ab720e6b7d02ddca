"""Engines that sample in the place of the network that learns; docs/engines.md."""
