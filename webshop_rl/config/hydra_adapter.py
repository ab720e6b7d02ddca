"""All that leans on how Hydra is made inside: its messages, its way to apply overrides, its options.

Errors of Hydra and OmegaConf become one line (what, where, remedy).
"""

from __future__ import annotations

import contextlib
import difflib
import os
import re
from collections.abc import Iterator, Mapping, Sequence

import yaml  # type: ignore[import-untyped]
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.conf import HydraConf
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, open_dict
from omegaconf.errors import OmegaConfBaseException

from webshop_rl.config.file_errors import CONF as CONF
from webshop_rl.config.file_errors import in_file, in_plain_words, unreadable_yaml
from webshop_rl.config.walk import group_types, known_keys
from webshop_rl.errors import UserError

ERRORS = (HydraException, OmegaConfBaseException, yaml.YAMLError)
_FULL = "HYDRA_FULL_ERROR"
# Options of Hydra that take the next word.
_WITH_VALUE = {"--cfg", "-c", "--package", "-p", "--info", "-i", "--experimental-rerun"}
_WITH_VALUE |= {"--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd"}
# Keys that no schema lists.
_FREE = "hardware.slurm.sbatch."
# What Hydra's grammar of overrides gives a meaning of its own.
_SPECIAL = re.compile(r"[=~{}\[\]()&|<>!?;#]")


def as_user_error(error: Exception) -> UserError:
    """The same in one line.

    Args:
        error: of the composition of a configuration.
    """
    if isinstance(error, OverrideParseException):
        return _unreadable(error.override)
    if isinstance(error, yaml.YAMLError):
        return unreadable_yaml(error)
    if wrong := in_file(error):
        return wrong
    text = str(error).strip()
    lines = text.splitlines() or [type(error).__name__]
    if found := re.search(r"Could not override '([^']+)'|Key '([^']+)' is not in struct", text):
        return no_such_key(found.group(1) or found.group(2))
    if found := re.match(r"Could not delete from config. '([^']+)' does not exist", lines[0]):
        return no_such_key(found.group(1))
    if found := re.match(r"Error merging override ~([^=]+)", lines[0]):
        return removed(found.group(1))
    if found := re.match(r"Sweep parameters '([^=]+)=", lines[0]):
        return UserError("several values", where=found.group(1), remedy="-m sweeps over them")
    if found := re.match(r"Error merging override ([^=]+)=(.*)", lines[0]):
        cause = str(error.__cause__ or "").strip().splitlines()
        return UserError(
            in_plain_words(cause[0]) if cause else f"{found.group(2)!r} does not fit",
            where=found.group(1).lstrip("+"),
        )
    if found := re.search(r"Could not find '([^']+)/([^'/]+)'", text):
        group, name = found.groups()
        offered = re.findall(r"^\t(\w+)$", text, re.MULTILINE)
        return UserError(f"there is no {name}", where=group, remedy=f"there are {', '.join(offered)}")
    if found := re.match(r"Ambiguous value for argument '([^=]+)=", lines[0]):
        return UserError("several values", where=found.group(1), remedy="-m sweeps over them")
    if found := re.search(r"Missing mandatory value: (\S+)", lines[0]):
        # What another key is interpolated from.
        return removed(found[1]) if found[1] in group_types() else missing(found[1])
    key = getattr(error, "full_key", None)
    if key:
        return UserError(in_plain_words(lines[0]), where=key)
    return UserError(lines[0], where="configuration", remedy="write group=option or key=value; see --help")


def no_such_key(key: str) -> UserError:
    """For a key that nobody reads; suggests one that is spelt alike."""
    known = sorted({name for name, _ in known_keys()})
    group = key.partition(".")[0]
    if key in known and "." not in key:
        return removed(key)
    if key in known:
        return UserError(
            f"the {group} chosen has no such key", where=key, remedy=f"another does: {group}=..."
        )
    last = key.rpartition(".")[2]
    deeper = [name for name in known if name.startswith(f"{group}.") and name.endswith(f".{last}")]
    # "algo.vstar_beta": the word of another section, written with an underscore.
    other = difflib.get_close_matches(last.replace("_", ".", 1), known, n=1, cutoff=0.8)
    close = deeper or other or difflib.get_close_matches(key, known, n=1)
    remedy = f"did you mean {close[0]}?" if close else "--cfg job shows all keys of the groups chosen"
    return UserError("there is no such key", where=key, remedy=remedy)


def removed(key: str) -> UserError:
    """For a key of a schema that `~key` has taken away."""
    return UserError("a run needs it", where=key, remedy=f"leave ~{key} out; {key}=... gives another value")


def missing(key: str, chosen: Mapping[str, str] | None = None) -> UserError:
    """For a key that the user must give a value.

    Args:
        chosen: options of the config groups, where they are known.
    """
    group = key.partition(".")[0]
    if group not in group_types():
        return UserError("a value is missing", where=key, remedy=f"add {key}=...")
    option = (chosen or {}).get(group)
    file = f"conf/{group}/{option}.yaml" if option else f"its file in conf/{group}/"
    return UserError("a value is missing", where=key, remedy=f"give it one in {file}, or here: {key}=...")


def refuse_removals(words: Sequence[str]) -> None:
    """Before Hydra composes, for `--cfg job` too: raise UserError for a `~key` that a run needs."""
    known = {name for name, _ in known_keys()}
    for word in words:
        key = word[1:].partition("=")[0]
        if word.startswith("~") and key in known:
            raise removed(key)


def _unreadable(override: str) -> UserError:
    """For a word that Hydra's parser of overrides refuses."""
    key, equals, value = override.partition("=")
    where = key.lstrip("+~") or "configuration"
    if not equals or not key:
        return UserError(
            f"{override!r} is no override",
            where="configuration",
            remedy="group=option or key=value; see --help",
        )
    if value.endswith(","):
        return UserError("no value after the last comma", where=where, remedy="no blank after a comma")
    if value[:1] not in "'\"" and _SPECIAL.search(value) and not re.match(r"[\[{]|\w+\(", value):
        remedy = f"quote it twice: '{key}=\"{value}\"'"
        if value.startswith("~"):
            remedy = f"write $HOME{value[1:]}"
        return UserError(f"{value!r} has a sign that must be quoted", where=where, remedy=remedy)
    return UserError(
        f"{value!r} cannot be read",
        where=where,
        remedy="a bracket or a quote is not closed, or a sign needs quotes",
    )


def ordered(words: Sequence[str]) -> list[str]:
    """The words of a command line with Hydra's options first: its parser takes no option between overrides.

    A further option of sbatch, hardware.slurm.sbatch.NAME=VALUE, gets the `+` that Hydra wants for a new key.
    """
    options: list[str] = []
    overrides: list[str] = []
    takes_value = False
    for word in words:
        (options if takes_value or word.startswith("-") else overrides).append(word)
        takes_value = not takes_value and word in _WITH_VALUE
    return [*options, *("++" + word if word.startswith(_FREE) else word for word in overrides)]


def apply_values(overrides: Sequence[Override], cfg: DictConfig) -> None:
    """Set values of a finished composition, as Hydra itself does it.

    Raises: errors of Hydra and OmegaConf (see ERRORS) if a value does not fit.
    """
    ConfigLoaderImpl._apply_overrides_to_config(list(overrides), cfg)


def chooses_option(loader: ConfigLoader, override: Override) -> bool:
    """Whether an override may choose an option of a config group, so that files must be read anew."""
    assert isinstance(loader, ConfigLoaderImpl)
    return not (
        override.type == OverrideType.CHANGE
        and override.package is None
        and not override.is_hydra_override()
        and (isinstance(override.value(), dict) or not loader.repository.group_exists(override.key_or_group))
    )


def chosen_options(hydra: DictConfig | HydraConf) -> dict[str, str]:
    """The option of each config group that Hydra composed, from its own node."""
    return {group: option for group, option in hydra.runtime.choices.items() if option}


def take_options(cfg: DictConfig) -> dict[str, str]:
    """The same from a composition, from which Hydra's own node is taken away."""
    chosen = chosen_options(cfg.hydra)
    with open_dict(cfg):
        del cfg["hydra"]
    return chosen


@contextlib.contextmanager
def composition_errors() -> Iterator[None]:
    """Within, what Hydra and OmegaConf raise becomes a UserError.

    With HYDRA_FULL_ERROR=1 in the environment it is raised as it is.
    """
    wanted = os.environ.get(_FULL)
    os.environ[_FULL] = "1"  # else Hydra prints a page and exits with code 1 itself
    try:
        yield
    except ERRORS as error:
        if wanted == "1":
            raise
        raise as_user_error(error) from error
    except ValueError as error:
        if found := re.match(r"Invalid defaults list in '([^']+)', (.*)", str(error)):
            raise UserError(
                found[2], where=f"conf/{found[1]}.yaml", remedy="defaults: [PARENT, _self_]"
            ) from error
        if "Config group override" not in str(error):
            raise
        raise UserError(
            "a group takes the name of an option", where="configuration", remedy="--help lists them"
        ) from error
    finally:
        if wanted is None:
            del os.environ[_FULL]
        else:
            os.environ[_FULL] = wanted
