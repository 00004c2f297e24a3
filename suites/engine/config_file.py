"""``--config FILE.toml``: a command's options in a file, and the file of the options in use."""

import json
import tomllib
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import typer

from stdcf.errors import UserError

# What asks a question once, and belongs to no file.
_NOT_KEPT = ("help", "config", "print-config", "dry-run", "list", "yes")


def use_config(context: typer.Context, file: Path | None) -> Path | None:
    """The callback of an eager --config: its values are the defaults of the other options.

    Raises:
        UserError: naming what is not an option, or does not have an option's type.
    """
    if file is None:
        return None
    try:
        content = tomllib.loads(file.expanduser().read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{file} is not TOML: {error}") from error
    known = _parameters(context)
    found: dict[str, Any] = {}
    for key, value in content.items():
        if key not in known:
            near = get_close_matches(key, known, n=1, cutoff=0.6)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise UserError(f"{file}: no option {key!r}; {hint}")
        found[known[key].name] = _value(f"{file}: {key}", known[key], value)
    context.default_map = {**(context.default_map or {}), **found}
    return file


def config_text(context: typer.Context) -> str:
    """TOML of the options that the command line or its --config gave, for another --config."""
    lines = []
    for key, parameter in _parameters(context).items():
        source = context.get_parameter_source(parameter.name)
        if source is not None and source.name in ("COMMANDLINE", "DEFAULT_MAP"):
            value = json.dumps(context.params[parameter.name], default=str, ensure_ascii=False)
            lines.append(f"{key} = {value}\n")
    return "".join(lines)


def _parameters(context: typer.Context) -> dict[str, Any]:
    """Key of a file -> the command's parameter: an option without its dashes, or "suite"."""
    named = {
        "suite" if parameter.param_type_name == "argument" else parameter.opts[0].lstrip("-"): (
            parameter
        )
        for parameter in context.command.params
    }
    return {key: parameter for key, parameter in named.items() if key not in _NOT_KEPT}


def _value(place: str, parameter: Any, value: Any) -> Any:
    """A file's value as the command line gives it: words, for the option's own type to read."""
    if getattr(parameter, "is_flag", False):
        if not isinstance(value, bool):
            raise UserError(f"{place} is true or false, not {value!r}")
        return value
    if getattr(parameter, "multiple", False):
        if isinstance(value, Mapping):
            return list(_pairs(value, nested=parameter.name == "layer_option"))
        words = value if isinstance(value, list) else [value]
        return [_word(place, word) for word in words]
    return _word(place, value)


def _pairs(table: Mapping[str, Any], *, nested: bool) -> Iterator[str]:
    for name, value in table.items():
        if nested and isinstance(value, Mapping):
            yield from (f"{name}.{pair}" for pair in _pairs(value, nested=False))
        else:
            yield f"{name}={json.dumps(value, default=str)}"


def _word(place: str, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise UserError(f"{place} is one word or number, not {value!r}")
    return str(value)
