"""What an exported model says of itself: the model card, and the same as JSON; imports no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from webshop_rl.config.schema import RunConfig
from webshop_rl.evaluation.tables import Result, remarks, result_markdown

CARD: Final = "README.md"
RECORD: Final = "webshop_rl.json"


@dataclass(frozen=True)
class Exported:
    """A checkpoint that is exported.

    Attributes:
        run: the run's name.
        config: of the run.
        identity: as launching.prepare writes it.
        result: of the run, None while it is not finished.
        split_digest, data_digest: of the shop.
        adapter: whether adapters are exported without their base.
        critic: whether the run trained a value head, which is not exported.
    """

    run: str
    update: int
    config: RunConfig
    identity: Mapping[str, Any]
    result: Result | None
    split_digest: str
    data_digest: str
    adapter: bool
    critic: bool

    @property
    def tested(self) -> Result | None:
        """What was measured of this very checkpoint; None if the run tested another, or none."""
        return self.result if self.result and self.result.get("best_update") == self.update else None

    def record(self) -> dict[str, Any]:
        """The export as JSON: `fields` is what determined the run, data by the digest of its content."""
        return {
            "run": self.run,
            "update": self.update,
            "code_digest": self.identity.get("code_digest"),
            "git": self.identity.get("git"),
            "split_digest": self.split_digest,
            "data_digest": self.data_digest,
            "fields": self.identity.get("fields", {}),
            "result": self.tested,
        }


def model_card(exported: Exported) -> str:
    """README.md of the folder."""
    sections = [_front_matter(exported), _what(exported), _results(exported), _use(exported)]
    return "\n\n".join("\n".join(section) for section in sections) + "\n"


def _base(exported: Exported) -> str | None:
    """The hub's name of the model that the run began with; None if it has none there."""
    path = getattr(exported.config.model, "path", None)
    return None if path is None or Path(path).expanduser().exists() else str(path)


def _front_matter(exported: Exported) -> Iterator[str]:
    base = _base(exported)
    yield "---"
    yield f"library_name: {'peft' if exported.adapter else 'transformers'}"
    yield "pipeline_tag: text-generation"
    if base is not None:
        yield f"base_model: {base}"
    yield "tags: [webshop, reinforcement-learning, webshop-rl]"
    yield "---"


def _what(exported: Exported) -> Iterator[str]:
    cfg = exported.config
    git = exported.identity.get("git")
    commit = git.get("commit") if isinstance(git, Mapping) else git
    kind = "LoRA adapters" if exported.adapter else "LoRA merged" if cfg.model.lora.enabled else "all weights"
    yield f"# {cfg.model.name} on {cfg.env.name}: run {exported.run}, update {exported.update}"
    yield ""
    yield "An agent that shops: it reads a page and answers with one action, e.g. `search[red shoes]`."
    yield ""
    yield "| | |"
    yield "|---|---|"
    yield f"| trained from | {_base(exported) or cfg.model.name} ({kind}, {cfg.model.dtype}) |"
    if cfg.init_from is not None:
        yield "| started with | the weights of another run (`init_from`) |"
    yield f"| algorithm | {cfg.algo.name}, lr {cfg.lr:g}, seed {cfg.seed} |"
    yield f"| checkpoint | update {exported.update} of {cfg.planned_updates} |"
    yield f"| run | `{exported.identity.get('signature', exported.run)}` |"
    yield f"| code | `{exported.identity.get('code_digest', '')}`, commit `{commit or 'unknown'}` |"
    yield f"| shop | {cfg.curriculum.name if cfg.curriculum.stages else cfg.env.name} |"
    yield f"| split digest | `{exported.split_digest}` |"
    yield f"| data digest | `{exported.data_digest}` |"
    if exported.critic:
        yield "| left out | the value head of the critic |"


def _results(exported: Exported) -> Iterator[str]:
    yield "## Results"
    yield ""
    result = exported.tested
    if result is None:
        yield f"The run has no test of update {exported.update}; `webshop-rl evaluate` of this folder is one."
        return
    yield from result_markdown(result).splitlines()
    yield ""
    yield "Intervals are 95 %, by bootstrap over products."
    yield from (f"- {remark}" for remark in remarks(result))


def _use(exported: Exported) -> Iterator[str]:
    rollout, view = exported.config.rollout, exported.config.view
    yield "## Use"
    yield ""
    yield "```python"
    yield "from transformers import AutoModelForCausalLM, AutoTokenizer"
    yield ""
    yield 'folder = "."  # this one'
    yield "model = AutoModelForCausalLM.from_pretrained(folder)"
    yield "tokenizer = AutoTokenizer.from_pretrained(folder)"
    yield "```"
    yield ""
    if exported.adapter:
        yield "The base is loaded by the name in `adapter_config.json`, with the package peft installed."
        yield ""
    yield (
        f"It was trained with pages as `view.pages={view.pages}` shows them and replies decoded "
        f"`{rollout.decoding}`{_of(rollout.decoding)}; `{RECORD}` has every key. `webshop-rl evaluate "
        "FOLDER` plays it in the same shops and views."
    )
    if (
        exported.config.model.dtype != "float32"
        and exported.config.model.lora.enabled
        and not exported.adapter
    ):
        yield ""
        dtype = exported.config.model.dtype
        yield f"Adapters were merged in {dtype}: log-probs differ from the run's by rounding."


def _of(decoding: str) -> str:
    if decoding == "admissible":
        return ", restricted to the actions that the page has; generated freely, a reply may be no action"
    return ""
