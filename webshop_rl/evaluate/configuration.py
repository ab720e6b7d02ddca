"""The configuration of an evaluation: a run's own or the defaults, with overrides on top; no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from webshop_rl.config.hydra_adapter import CONF, ERRORS, apply_values, as_user_error
from webshop_rl.config.load import as_typed, read, register, with_schemas
from webshop_rl.config.schema import RunConfig
from webshop_rl.config.walk import facts_of, group_types, known_keys
from webshop_rl.envs.types import SPLITS
from webshop_rl.errors import UserError
from webshop_rl.evaluate.target import Kind, Target
from webshop_rl.launching.compose import freeze
from webshop_rl.launching.signature import Scalar
from webshop_rl.storage.folders import RunFolder

ALL: Final = "all"
SHOPS: Final = ("env", "curriculum")


@dataclass(frozen=True)
class Request:
    """What the command line asks for besides the configuration.

    Attributes:
        split: "train", "val", "test" or "all".
        episodes: how many; None for one a goal.
        goals: first and one past the last place of the split's goals to take, as in a Python slice.
        temperature: of the policy; 0 is greedy, None leaves it to evaluation.temperature.
    """

    split: str = "test"
    episodes: int | None = 100
    temperature: float | None = None
    goals: tuple[int, int] | None = None


@dataclass(frozen=True)
class Configured:
    """An evaluation that is ready to be carried out.

    Attributes:
        cfg: its places absolute.
        home: with the shops that the policy was trained in, whose words it knows; as cfg if untrained.
        fields: what determines the result besides the weights, by dotted key.
    """

    cfg: RunConfig
    home: RunConfig
    fields: dict[str, Scalar]


def take_request(words: Sequence[str]) -> tuple[Request, list[str]]:
    """split=, goals=, episodes= and temperature= out of key=value words; the rest are overrides of Hydra.

    Raises: UserError on a value out of range, or a word without "=".
    """
    found: dict[str, str] = {}
    rest = []
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise UserError("not of the form key=value", where=word, remedy="--help shows the keys")
        if key in Request.__dataclass_fields__:
            found[key] = value
        else:
            rest.append(word)
    default = Request()
    split = found.get("split", default.split)
    if split not in (*SPLITS, ALL):
        raise UserError(f"{split!r} is no split", where="split", remedy=f"one of {', '.join((*SPLITS, ALL))}")
    goals = _places(found["goals"]) if "goals" in found else None
    episodes = default.episodes if goals is None else None
    temperature = default.temperature
    if "episodes" in found:
        whole = found["episodes"] == ALL
        episodes = None if whole else int(_number("episodes", found["episodes"], whole=True))
    if "temperature" in found:
        temperature = _number("temperature", found["temperature"])
    return Request(split, episodes, temperature, goals), rest


def root_of(overrides: Sequence[str], default: str = "runs") -> Path:
    """Where the runs are, before anything is composed."""
    given = [word.removeprefix("root=") for word in overrides if word.startswith("root=")]
    return Path(given[-1] if given else default).expanduser()


def configure(target: Target, request: Request, overrides: Sequence[str]) -> Configured:
    """Compose, check and resolve.

    Raises: UserError if an override does not fit, a value is out of range, or data or weights are missing.
    """
    register()
    temperature = [] if request.temperature is None else [f"evaluation.temperature={request.temperature}"]
    # Wherever it was trained, and whatever sampled there, it is evaluated on what this machine has.
    device = [] if any(word.startswith("hardware") for word in overrides) else ["hardware.device=auto"]
    words = [*device, "rollout.engine=native", *temperature, *overrides]
    try:
        _refuse_unread(OverridesParser.create().parse_overrides(list(overrides)))
        with initialize_config_dir(str(CONF), version_base="1.3"):
            if target.kind is Kind.RUN:
                cfg, home = _of_run(target, words)
            else:
                cfg = compose("config", overrides=[*_model(target, overrides), *words])
                home = cfg
        frozen = freeze(cfg)
        shops = {group: OmegaConf.to_container(home[group], resolve=True) for group in SHOPS}
        trained_in = as_typed({**frozen.config, **shops})
    except ERRORS as error:
        raise as_user_error(error) from error
    player = "scripted" if target.kind is Kind.SCRIPTED else "evaluated"
    kept = {key: value for key, value in frozen.fields.items() if player in facts_of(key).decides}
    return Configured(as_typed(frozen.config), trained_in, kept)


def _refuse_unread(overrides: Sequence[Override]) -> None:
    """Raises: UserError for a key that training reads and an evaluation does not: it would change nothing."""
    known = {name for name, _ in known_keys()}
    for override in overrides:
        key = override.key_or_group
        facts = facts_of(key)
        # What else is in these two sections says how fast, and in how much memory, the policy acts.
        unread = facts.affects_result and "evaluated" not in facts.decides
        if key in known and unread and key.partition(".")[0] not in ("model", "rollout"):
            remedy = "split=, episodes= and goals= say what is played; --help lists the keys"
            raise UserError("an evaluation does not read it", where=override.input_line or key, remedy=remedy)


def _model(target: Target, overrides: Sequence[str]) -> list[str]:
    if any(word.startswith(("model=", "+model=")) for word in overrides) and target.kind is not Kind.SCRIPTED:
        raise UserError(f"the model is {target.name} already", where="model", remedy="leave model= out")
    if target.kind is Kind.MODEL:
        return [f"model={target.name}"]
    if target.kind is Kind.FOLDER:
        assert target.place is not None
        gguf = [] if (target.place / "config.json").is_file() else ["model.gguf_file=auto"]
        return ["model=pretrained", f"model.name='{target.name}'", f"model.path='{target.place}'", *gguf]
    return []


def _of_run(target: Target, words: Sequence[str]) -> tuple[DictConfig, DictConfig]:
    """A run's own configuration with overrides on top, and the same with the shops it was trained in.

    Another shop, or curriculum, takes the place of both of the run's.
    """
    assert target.place is not None
    parsed = OverridesParser.create().parse_overrides(list(words))
    groups = [o for o in parsed if _is_group(o)]
    values = [o for o in parsed if not _is_group(o)]
    # Where and how an evaluation happens; the run's other groups are what it is.
    changeable = (*SHOPS, *(group for group in group_types() if not facts_of(group).affects_result))
    for override in groups:
        if override.key_or_group not in changeable:
            raise UserError(
                f"a run brings its own {override.key_or_group}",
                where=override.input_line or override.key_or_group,
                remedy=f"groups that can be chosen: {', '.join(changeable)}",
            )
    frozen = RunFolder(target.place).config
    cfg = with_schemas(read(frozen), frozen)
    cfg.root = str(RunFolder(target.place).root.path)
    cfg.init_from = None  # a checkpoint has all weights, whatever they were at the start
    own = [o for o in values if o.key_or_group.startswith("env.") and facts_of(o.key_or_group).place]
    home = cfg.copy()
    elsewhere = any(o.key_or_group in SHOPS for o in groups)
    if not elsewhere:
        apply_values(own, home)  # the same data, in another place
    if groups:
        chosen = compose("config", overrides=[o.input_line or "" for o in groups])
        for group in {*(o.key_or_group for o in groups), *(SHOPS if elsewhere else ())}:
            cfg[group] = chosen[group]
    apply_values(values, cfg)
    return cfg, home


def _is_group(override: Override) -> bool:
    return (CONF / override.key_or_group).is_dir() and not isinstance(override.value(), dict)


def _places(text: str) -> tuple[int, int]:
    first, _, last = text.partition(":")
    if not (first.isdigit() and last.isdigit() and int(first) < int(last)):
        raise UserError(f"{text!r} is no range", where="goals", remedy="goals=0:400 takes the first 400")
    return int(first), int(last)


def _number(key: str, text: str, *, whole: bool = False) -> float:
    try:
        value = int(text) if whole else float(text)
    except ValueError:
        value = -1.0
    if not (value >= (1 if whole else 0) and value < float("inf")):
        least = "a whole number >= 1, or all" if whole else "a number >= 0"
        raise UserError(f"{text!r} is out of range", where=key, remedy=f"give {least}")
    return value
