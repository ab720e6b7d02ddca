"""The container recipes install what `make setup` does, and a job runs in them as docs/sweeps.md says."""

from __future__ import annotations

import re

import pytest
import yaml

from tests.support.hardware_parts import asking, hardware
from tests.support.paths import REPOSITORY
from webshop_rl.launching.slurm.submit import command

_OF_PLACE = {"-q", "--disable-pip-version-check", "--no-cache-dir"}


def _installs(file: str) -> list[list[str]]:
    """The options of each `pip install` in a file, in order, without those that change no package."""
    text = (REPOSITORY / file).read_text().replace("\\\n", " ")
    found = re.findall(r"^(?!\s*#).*?-m pip install ([^&\n]+?)(?:&&.*-m pip install ([^&\n]+))?$", text, re.M)
    lines = [line for pair in found for line in pair if line]
    return [[word for word in line.split() if word not in _OF_PLACE] for line in lines]


@pytest.mark.parametrize("recipe", ["containers/Dockerfile", "containers/apptainer.def"])
def test_a_recipe_installs_what_setup_does_and_names_no_version(recipe: str) -> None:
    torch, rest, package = _installs("Makefile")[:3]  # of the rule `setup`, which comes first
    assert torch == ["-c", "constraints.txt", "torch"]
    assert package[-2:] == ["-e", "."]  # of a checkout; a job imports its copy of the code
    assert _installs(recipe) == [torch, rest]
    text = (REPOSITORY / recipe).read_text()
    assert "==" not in text
    assert "constraints.txt /tmp/constraints.txt" in text


def test_the_documented_hardware_runs_python_in_the_image() -> None:
    docs = (REPOSITORY / "docs/sweeps.md").read_text()
    (block,) = [text for text in re.findall(r"```yaml\n(.*?)```", docs, re.S) if ".sif" in text]
    asked = yaml.safe_load(block)
    assert asked["defaults"] == ["slurm_gpu", "_self_"]
    # Jobs change into the copy of their code: a relative path would not be found.
    assert command(asking(hardware("slurm_gpu"), **asked["slurm"])) == (
        "apptainer exec --nv --bind /scratch /scratch/webshop-rl.sif python"
    )
