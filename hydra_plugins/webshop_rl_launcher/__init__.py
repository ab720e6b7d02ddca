"""Shows Hydra our launcher and sweeper; Hydra accepts only classes defined in this namespace."""

from hydra.core.config_store import ConfigStore

from webshop_rl.launching import plugin


class Launcher(plugin.SweepLauncher):
    """`hydra/launcher: webshop_rl`."""


class Sweeper(plugin.GridSweeper):
    """`hydra/sweeper: webshop_rl`."""


for group, schema in (("launcher", plugin.LauncherConfig), ("sweeper", plugin.SweeperConfig)):
    ConfigStore.instance().store(
        group=f"hydra/{group}", name="webshop_rl", node=schema, provider="webshop_rl"
    )
