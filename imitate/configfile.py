"""A config file and its overrides -> a checked config, or every error at once with its line.

The YAML tree is composed with positions, so an error of the schema can point at the key that caused
it; overrides (`--set key=value`) are laid over the tree and point at themselves.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from evals.errors import ConfigError
from imitate.config import (
    CapacityJob,
    Config,
    DistillJob,
    GrokkingJob,
    JudgeCardJob,
    ProbeJob,
    Section,
    TracesJob,
)

__all__ = [
    "card_job_schema",
    "config_schema",
    "is_probe",
    "job_schema",
    "load_card_job",
    "load_config",
    "load_job",
    "load_probe",
    "probe_schema",
]

SectionT = TypeVar("SectionT", bound=Section)

Key = tuple[str | int, ...]

_PROBES: dict[str, type[ProbeJob]] = {
    "grokking": GrokkingJob,
    "capacity": CapacityJob,
    "traces": TracesJob,
}

# YAML 1.1 reads 1e-4 as text, as which learning rates are written, and 2026-01-31 as a date, which
# nothing here is.
_FLOAT = re.compile(r"^[-+]?(\d[\d_]*\.?[\d_]*|\.\d[\d_]*)([eE][-+]?\d+)?$")

_HINTS = {
    "lora_rank": "16 is what the published runs use",
    "kind": "each kind has its own keys: the command's `--schema` prints them",
    "decontaminate": "switch it off only for an arm planted on purpose",
}


_UNWANTED = {"tag:yaml.org,2002:float", "tag:yaml.org,2002:timestamp"}


class _Loader(yaml.SafeLoader):
    """Safe YAML, with floats as people write them."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag not in _UNWANTED]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))


@dataclasses.dataclass(frozen=True)
class _Tree:
    """Values of a config and where each came from."""

    values: dict[str, Any]
    places: dict[Key, str]

    def where(self, key: Key) -> str | None:
        """Return the place of a key, or of the nearest key above it."""
        for length in range(len(key), -1, -1):
            if place := self.places.get(key[:length]):
                return place
        return None


def load_config(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Return the config of a run: a YAML file with `key=value` overrides applied.

    Raises:
        ConfigError: The file cannot be read, or breaks the schema; the message holds every error.
    """
    return _load(path, overrides, Config)


def load_job(path: Path, overrides: Sequence[str] = ()) -> DistillJob:
    """Return the config of a distillation job, as `load_config`.

    Raises:
        ConfigError: As `load_config`.
    """
    return _load(path, overrides, DistillJob)


def load_card_job(path: Path, overrides: Sequence[str] = ()) -> JudgeCardJob:
    """Return the config of a judge card, as `load_config`.

    Raises:
        ConfigError: As `load_config`.
    """
    return _load(path, overrides, JudgeCardJob)


def is_probe(path: Path) -> bool:
    """Return whether a config file is that of a probe, which names it first of all.

    Raises:
        ConfigError: The file cannot be read.
    """
    return "probe" in _read_tree(path).values


def load_probe(path: Path, overrides: Sequence[str] = ()) -> ProbeJob:
    """Return the config of a probe, as `load_config`.

    Raises:
        ConfigError: As `load_config`, or there is no such probe.
    """
    tree = _read_tree(path)
    kind = str(tree.values.get("probe"))
    if kind not in _PROBES:
        text, hint = _explain_choice("probe", str(list(_PROBES)), kind)
        raise ConfigError(text, where=tree.where(("probe",)), hint=hint)
    return _load(path, overrides, _PROBES[kind])


def probe_schema() -> str:
    """Return the JSON schema of probes that editors complete from."""
    probes = Annotated[ProbeJob, Field(discriminator="probe")]
    return json.dumps(TypeAdapter(probes).json_schema(), indent=2)


def config_schema() -> str:
    """Return the JSON schema of runs that editors complete from."""
    return json.dumps(Config.model_json_schema(), indent=2)


def job_schema() -> str:
    """Return the JSON schema of distillation jobs that editors complete from."""
    return json.dumps(DistillJob.model_json_schema(), indent=2)


def card_job_schema() -> str:
    """Return the JSON schema of judge cards that editors complete from."""
    return json.dumps(JudgeCardJob.model_json_schema(), indent=2)


def _load(path: Path, overrides: Sequence[str], schema: type[SectionT]) -> SectionT:
    tree = _read_tree(path)
    for override in overrides:
        _apply_override(tree, override)
    try:
        return schema.model_validate_json(json.dumps(tree.values))
    except ValidationError as error:
        raise _as_config_error(error, tree, schema) from None


def _read_tree(path: Path) -> _Tree:
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, IsADirectoryError):
        raise ConfigError(
            f"no config file at `{path}`", hint=_similar_files(path) or "give a YAML file"
        ) from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"`{path}` is not UTF-8: byte {error.start} cannot be read",
            where=str(path),
            hint="save the file as UTF-8",
        ) from None
    except OSError as error:
        raise ConfigError(f"`{path}` cannot be read: {error.strerror}") from None
    try:
        node = yaml.compose(text, Loader=_Loader)
        values = yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(
            f"not valid YAML: {error.problem or error.context}", where=f"{path}:{line}"
        ) from None
    except yaml.YAMLError as error:
        raise ConfigError(f"not valid YAML: {error}", where=str(path)) from None
    if not isinstance(values, dict) or node is None:
        raise ConfigError("a config is a mapping of keys to values", where=f"{path}:1")
    places: dict[Key, str] = {(): f"{path}:1"}
    problems: list[str] = []
    for key, line, is_doubled in _positions(node, ()):
        if is_doubled:
            problems.append(_told(f"`{_dotted(key)}` is given twice", f"{path}:{line}", None))
        places[key] = f"{path}:{line}"
    if problems:
        raise ConfigError("\n\n".join(problems).removeprefix("error: "))
    return _Tree(values, places)


def _positions(node: yaml.Node, key: Key) -> Iterator[tuple[Key, int, bool]]:
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for name, child in node.value:
            inner = (*key, str(name.value))
            yield inner, name.start_mark.line + 1, inner in seen
            seen.add(inner)
            yield from _positions(child, inner)
    elif isinstance(node, yaml.SequenceNode):
        for position, child in enumerate(node.value):
            inner = (*key, position)
            yield inner, child.start_mark.line + 1, False
            yield from _positions(child, inner)


def _apply_override(tree: _Tree, override: str) -> None:
    name, separator, text = override.partition("=")
    if not separator or not name:
        raise ConfigError(
            f"`--set {override}` is no override", hint="write --set train.learning_rate=1e-4"
        )
    try:
        value = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError:
        raise ConfigError(f"`--set {override}`: the value is not valid YAML") from None
    parts = [int(part) if part.isdigit() else part for part in name.split(".")]
    holder: Any = tree.values
    for part in parts[:-1]:
        holder = _child(holder, part, override)
    last = parts[-1]
    if isinstance(holder, list):
        _child(holder, last, override)
    elif not isinstance(holder, dict):
        raise ConfigError(f"`--set {override}`: `{name}` has no keys of its own")
    holder[last] = value
    tree.places[tuple(parts)] = f"--set {override}"


def _child(holder: Any, part: str | int, override: str) -> Any:
    if isinstance(holder, dict):
        return holder.setdefault(part, {})
    if isinstance(holder, list) and isinstance(part, int) and part < len(holder):
        return holder[part]
    raise ConfigError(f"`--set {override}`: there is no `{part}` at that place")


def _as_config_error(error: ValidationError, tree: _Tree, schema: type[Section]) -> ConfigError:
    told: list[str] = []
    for found in error.errors():
        key = _without_tags(found["loc"], tree.values)
        text, hint = _explain(found, key, schema)
        told.append(_told(text, tree.where(key), hint))
    unique = list(dict.fromkeys(told))
    return ConfigError("\n\n".join(unique).removeprefix("error: "))


def _told(text: str, where: str | None, hint: str | None) -> str:
    return str(ConfigError(text, where=where, hint=hint))


def _explain(found: Any, key: Key, schema: type[Section]) -> tuple[str, str | None]:
    name, kind, given = _dotted(key), found["type"], found.get("input")
    last = str(key[-1]) if key else ""
    context = found.get("ctx", {})
    if kind == "extra_forbidden":
        return f"unknown key `{name}`", _did_you_mean(last, found["loc"], schema)
    if kind == "missing":
        return f"`{name}` is missing", _HINTS.get(last)
    if kind in {"greater_than_equal", "greater_than", "less_than_equal", "less_than"}:
        bound = next(iter(context.values()))
        words = {
            "greater_than_equal": "at least",
            "greater_than": "above",
            "less_than_equal": "at most",
            "less_than": "below",
        }[kind]
        return f"`{name}` must be {words} {bound}, got {_shown(given)}", _HINTS.get(last)
    if kind in {"literal_error", "enum"}:
        return _explain_choice(name, context.get("expected", ""), given)
    if kind == "union_tag_invalid":
        return _explain_choice(f"{name}.kind", context["expected_tags"], context["tag"])
    if kind == "union_tag_not_found":
        return f"`{name}.kind` is missing", _HINTS["kind"]
    if kind == "value_error":
        text = str(context["error"])
        return (f"`{name}`: {text}" if name else text), None
    message = found["msg"].removeprefix("Input ")
    return f"`{name}` {message}, got {_shown(given)}", _HINTS.get(last)


def _explain_choice(name: str, expected: str, given: Any) -> tuple[str, str | None]:
    choices = re.findall(r"'([^']*)'", expected)
    close = difflib.get_close_matches(str(given), choices, n=1)
    hint = f"did you mean `{close[0]}`?" if close else None
    return f"`{name}` must be one of {', '.join(choices)}; got {_shown(given)}", hint


def _did_you_mean(given: str, loc: Sequence[str | int], schema: type[Section]) -> str | None:
    names = list(_fields_at(schema, list(loc[:-1])))
    close = difflib.get_close_matches(given, names, n=1, cutoff=0.55)
    if close:
        return f"did you mean `{close[0]}`?"
    return f"keys here: {', '.join(names)}" if names else None


def _fields_at(model: type[BaseModel], loc: list[str | int]) -> Iterator[str]:
    """Field names of the section that a location of pydantic leads to."""
    candidates: list[Any] = [model]
    for part in loc:
        candidates = [inner for found in candidates for inner in _step(found, part)]
    for found in candidates:
        yield from found.model_fields


def _step(model: type[BaseModel], part: str | int) -> list[type[BaseModel]]:
    kind = model.model_fields.get("kind")
    if kind and part in get_args(kind.annotation):  # a tag of a discriminated union
        return [model]
    if isinstance(part, str) and part in model.model_fields:
        return list(_models_in(model.model_fields[part].annotation))
    if kind and isinstance(part, str):
        return []
    return [model]  # an index of a list, a key of a mapping


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)


def _without_tags(loc: Sequence[str | int], values: Any) -> Key:
    """Drop what pydantic puts in for a union's member; keep the file's keys and the last part."""
    key: list[str | int] = []
    here = values
    for position, part in enumerate(loc):
        is_last = position == len(loc) - 1
        is_index = isinstance(here, list) and isinstance(part, int) and part < len(here)
        if isinstance(here, dict) and here.get("kind") == part and not is_last:
            continue  # a tag, even where a key has the same name
        if is_index or (isinstance(here, dict) and part in here):
            here = here[part]
        elif not is_last or not isinstance(here, dict) or part == "kind":
            continue
        key.append(part)
    return tuple(key)


def _dotted(key: Key) -> str:
    return ".".join(str(part) for part in key)


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else text[:77] + "..."


def _similar_files(path: Path) -> str | None:
    folder = path.parent if path.parent.is_dir() else Path("configs")
    names = [str(found) for found in folder.glob("**/*.yaml")] if folder.is_dir() else []
    close = difflib.get_close_matches(str(path), names, n=1)
    return f"did you mean `{close[0]}`?" if close else None
