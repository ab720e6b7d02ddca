"""Train one run, or with -m sweep many: `python launch.py [-m] [group=option] [key=value]`."""

from __future__ import annotations

from webshop_rl.cli import one_line_errors

if __name__ == "__main__":
    with one_line_errors():
        # Imported here, so that Ctrl-C while Hydra loads is one line too.
        from webshop_rl.train import main

        main()
