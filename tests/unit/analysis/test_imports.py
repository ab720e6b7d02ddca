from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

from tests.support.paths import REPOSITORY


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


def test_analysis_knows_of_the_platform_only_what_imports_nothing_that_trains():
    modules = set.union(*(imported(path) for path in (REPOSITORY / "analysis").glob("*.py")))
    contracts = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["importlinter"][
        "contracts"
    ]
    (own,) = (each for each in contracts if each.get("source_modules") == ["analysis"])
    allowed = tuple(rule.partition(" -> ")[2].removesuffix("*") for rule in own["ignore_imports"])
    assert "webshop_rl.errors" in allowed
    assert not [m for m in modules if m.startswith("webshop_rl") and not m.startswith(allowed)]


def test_help_loads_nothing_heavy():
    script = (
        "import runpy, sys\n"
        "sys.argv = ['report', '--help']\n"
        "try: runpy.run_module('analysis.report', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "print('LOADED', *{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    text, _, loaded = done.stdout.partition("LOADED")
    assert "--tracking-uri" in text
    assert not {"mlflow", "matplotlib", "scipy", "pandas", "torch"} & set(loaded.split())
