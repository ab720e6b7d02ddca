"""What is wrong in a file of conf/, or in a schema it names, as one line: file, key, what is allowed."""

from __future__ import annotations

import difflib
import re
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import yaml  # type: ignore[import-untyped]
from omegaconf import DictConfig
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException

from webshop_rl.errors import UserError

PACKAGE: Final = Path(__file__).resolve().parents[1]
# At the top of a checkout; inside the package in a wheel.
CONF: Final = PACKAGE / "conf" if (PACKAGE / "conf").is_dir() else PACKAGE.parent / "conf"
_TYPES = {"Integer": "a whole number", "Float": "a number"}  # of OmegaConf
_SCHEMA = re.compile(r"base_([a-z]+)(?:_(\w+))?")


def shown(path: Path) -> str:
    """A file of ours as seen from the top of the checkout; another one as it is."""
    for top in (CONF.parent, PACKAGE.parent):
        if path.is_relative_to(top):
            return path.relative_to(top).as_posix()
    return str(path)


def in_file(error: Exception) -> UserError | None:
    """The same for an error of composition that names the file it is in; None for any other."""
    found = re.match(r"In '([^']+)': (.*)", str(error).strip())
    if found is None:
        return None
    option, rest = found.groups()
    file = shown(CONF / f"{option}.yaml")
    cause = _of_omegaconf(error)
    key = getattr(cause, "full_key", None) or ""
    if isinstance(cause, ConfigKeyError) and key:
        return UserError("there is no such key", where=f"{file}: {key}", remedy=_allowed(cause))
    if absent := re.match(r"Could not (?:load|find) '([^']+)'", rest):
        if option == "config":  # an option that the command line has chosen
            return None
        return _no_parent(file, absent[1])
    lines = str(cause or rest).strip().splitlines()
    if misplaced := re.search(r"(\w+) is not a subclass of (\w+)\. value: (.*)", lines[0]):
        kind, schema, value = misplaced.groups()
        return UserError(
            f"{value} ({kind}) stands where keys belong", where=file, remedy=f"KEY: VALUE of {schema}"
        )
    said = in_plain_words(lines[0])
    return UserError(said, where=f"{file}: {key}" if key else file, remedy="correct it in this file")


def in_plain_words(message: str) -> str:
    """OmegaConf's message about a value of the wrong type, for somebody who never heard of its types."""
    found = re.match(r"Value '(.*)' of type '\w+' could not be converted to (\w+)", message)
    return f"{found[1]!r} is not {_TYPES[found[2]]}" if found and found[2] in _TYPES else message


def unreadable_yaml(error: yaml.YAMLError) -> UserError:
    """The same for a file that is not YAML."""
    mark = getattr(error, "problem_mark", None)
    what = getattr(error, "problem", None) or str(error).splitlines()[0]
    where = f"{shown(Path(mark.name))}, line {mark.line + 1}" if mark else "configuration"
    return UserError(
        f"not valid YAML: {what}",
        where=where,
        remedy="KEY: VALUE; brackets closed, blanks before a key as many as its neighbours have",
    )


def unimportable(error: Exception) -> UserError:
    """The same for a module that cannot be imported, by the line of ours that is nearest to the error.

    Args:
        error: as caught where the module is imported.
    """
    if isinstance(error, SyntaxError):
        file = error.filename or ""
        line = error.lineno
        what = error.msg
    else:
        frames = traceback.extract_tb(error.__traceback__)[1:]  # the first is where it is imported
        own = [frame for frame in frames if Path(frame.filename).is_relative_to(PACKAGE)]
        file, line, what = own[-1].filename if own else "", own[-1].lineno if own else None, str(error)
    where = f"{shown(Path(file))}, line {line}" if file else "import"
    return UserError(f"cannot be imported: {type(error).__name__}: {what}", where=where)


def no_dataclass(schema: type) -> UserError:
    """The same for a schema that is a plain class."""
    file = Path(sys.modules[schema.__module__].__file__ or "")
    return UserError(
        f"{schema.__name__} is not a dataclass", where=shown(file), remedy="write @dataclass above its class"
    )


def _of_omegaconf(error: BaseException) -> OmegaConfBaseException | None:
    """The error of OmegaConf that Hydra has wrapped once or more."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OmegaConfBaseException):
        cause = cause.__cause__ or cause.__context__
    return cause


def _allowed(error: ConfigKeyError) -> str:
    """The key that was meant, by its spelling, or those there are."""
    section = error.parent_node
    known = (
        sorted(str(key) for key in section if key != "_target_") if isinstance(section, DictConfig) else []
    )
    close = difflib.get_close_matches(str(error.key), known, n=1)
    return f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"


def _no_parent(file: str, name: str) -> UserError:
    """For a name in a file's defaults list that stands for nothing."""
    where = f"{file}: defaults"
    if schema := _SCHEMA.fullmatch(name):
        group, variant = schema.groups()
        room = PACKAGE / ("envs" if group == "env" else f"{group}s") / (variant or "")
        if group in ("env", "algo") and variant:
            config = room / "config.py"
            what = "has no dataclass with a _target_" if config.is_file() else "does not exist"
            return UserError(
                f"{name} is made by {shown(config)}, which {what}",
                where=where,
                remedy=f"docs/architecture.md shows one; there are {_listed(_schemas(group))}",
            )
        return UserError(f"there is no {name}", where=where, remedy=f"there are {_listed(_schemas(group))}")
    offered = sorted(path.stem for path in (CONF / name).parent.glob("*.yaml"))
    remedy = f"there are {_listed(offered)}" if offered else f"nor a folder {shown((CONF / name).parent)}"
    return UserError(f"there is no {name}", where=where, remedy=remedy)


def _schemas(group: str) -> list[str]:
    from hydra.core.config_store import (
        ConfigStore,
    )  # loaded by then; commands that compose nothing do without

    names = (name.removesuffix(".yaml") for name in ConfigStore.instance().list(""))
    return sorted(name for name in names if re.fullmatch(rf"base_{group}(_\w+)?", name))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
