"""What pyproject.toml cannot say: a wheel has one package of its own, with conf/ and analysis/ in it."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

# At the top of a checkout, where people look for them. In a folder of everybody's packages names as general
# as these could overwrite, or be overwritten by, those of others.
SHIPPED = ("conf", "analysis")


class BuildWithin(build_py):
    """Copies the SHIPPED folders into the package; an editable installation has them where they are."""

    def run(self) -> None:
        if self.editable_mode:
            return
        self.packages = [name for name in self.packages if name.partition(".")[0] not in SHIPPED]
        super().run()
        for name in SHIPPED:
            there = Path(self.build_lib, "webshop_rl", name)
            shutil.rmtree(there, ignore_errors=True)
            shutil.copytree(name, there, ignore=shutil.ignore_patterns("__pycache__"))


setup(cmdclass={"build_py": BuildWithin})
