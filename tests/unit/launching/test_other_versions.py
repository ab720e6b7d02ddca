"""Files that another version of the code wrote, or something else damaged: one line, never a traceback."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from tests.support.shop5_parts import composed
from webshop_rl.launching import status
from webshop_rl.storage.folders import Root
from webshop_rl.storage.run_status import RunStatus, State

OTHER = ["", "[]", "{}", '{"version": 99}', '{"state": "sleeping"}', '{"runs": [1], "policies": {"test": 1}}']

FILES = ["status.json", "signature.json", "job.json", "result.json", "config.yaml", "manifest.json"]
FILES += ["mlflow.json", "journal.jsonl"]


@functools.cache
def _config() -> str:
    return OmegaConf.to_yaml(composed(), resolve=True)


@pytest.fixture
def root(tmp_path: Path) -> Root:
    """A root with a sweep of two runs, one finished and one that failed."""
    root = Root(tmp_path)
    runs = []
    for name, state in (("a" * 12, State.FINISHED), ("b" * 12, State.FAILED)):
        run = root.run(name)
        run.path.mkdir(parents=True)
        RunStatus(state, attempts=1, error="why").write(run)
        identity = {"signature": name, "fields": {"num_updates": 3}, "overrides": ["lr=1"], "sweep": "s"}
        run.signature.write_text(json.dumps({**identity, "code_digest": "c0de"}))
        run.config.write_text(_config())
        run.result.write_text('{"objective": 0.5, "policies": {"test": {"success": 0.5, "score": 0.5}}}')
        runs.append({"run": name, "signature": name, "overrides": []})
    manifest = root.sweep("s").manifest
    manifest.parent.mkdir(parents=True)
    manifest.write_text(json.dumps({"name": "s", "created": 1, "command": [], "common": [], "runs": runs}))
    return root


@pytest.mark.parametrize("content", OTHER)
@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("words", ["s --once", "retry s", "--once"])
def test_a_file_of_another_version_is_a_line(
    root: Root, file: str, content: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    place = root.sweep("s").manifest if file == "manifest.json" else root.run("b" * 12).path / file
    place.write_text(content)
    code = status.main([*words.split(), "--root", str(root.path)])
    error = capsys.readouterr().err
    assert code in (0, 1, 2)
    assert error.count("\n") <= 1
    assert (code == 2) == error.startswith("error: ")
