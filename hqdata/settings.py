"""Settings as frozen dataclasses, a section each, mirrored by TOML and by `--set section.key=value`.

Precedence, last wins: defaults, TOML files in the order given, `--set`, the command line's own flags. An unknown key
is an error that names the nearest known one and all others; nothing is silently ignored.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

__all__ = ["ConfigError", "load_settings", "parse_assignment", "settings_from_dict"]

Settings = TypeVar("Settings")


class ConfigError(ValueError):
    """A setting is unknown, of the wrong type or out of range."""


def load_settings(
    kind: type[Settings],
    *,
    files: Iterable[Path | str] = (),
    assignments: Iterable[str] = (),
    sections: Mapping[str, Mapping[str, Any]] | None = None,
    shipped: Path | None = None,
) -> Settings:
    """Merge defaults, TOML files, `section.key=value` assignments and explicit sections into one value.

    Args:
        kind: a dataclass whose fields are dataclasses: the sections.
        files: TOML files, or names of shipped ones; later ones win.
        assignments: strings such as "select.count=1000"; the value is read as TOML, a bare word as a string.
        sections: values from the command line by section; None values are left out.
        shipped: folder of the TOML files that can be given by name.

    Raises:
        ConfigError: for an unknown key (naming the nearest), a wrong type, a value out of range or a broken file.
    """
    merged: dict[str, dict[str, Any]] = {}
    for file in files:
        _merge(kind, merged, _read_toml(Path(file), shipped), origin=str(file))
    for assignment in assignments:
        _merge(kind, merged, parse_assignment(assignment), origin=f"--set {assignment}")
    given = {name: {k: v for k, v in values.items() if v is not None} for name, values in (sections or {}).items()}
    _merge(kind, merged, {name: values for name, values in given.items() if values}, origin="command line")
    return settings_from_dict(kind, merged)


def settings_from_dict(kind: type[Settings], values: Mapping[str, Mapping[str, Any]]) -> Settings:
    """Build settings from nested plain values; the inverse of `dataclasses.asdict`, also after JSON.

    Raises:
        ConfigError: as `load_settings`.
    """
    hints = get_type_hints(kind)
    sections = {}
    for name, section in values.items():
        _known(name, hints, where="section")
        sections[name] = _section(hints[name], name, section)
    return kind(**sections)


def parse_assignment(text: str) -> dict[str, dict[str, Any]]:
    """Return {"section": {"key": value}} for a text such as "align.size=256".

    >>> parse_assignment("align.mode=fast")
    {'align': {'mode': 'fast'}}
    """
    path, equals, raw = text.partition("=")
    section, dot, key = path.strip().partition(".")
    if not equals or not dot or not key:
        raise ConfigError(f"--set wants section.key=value, got {text!r}")
    try:
        value = tomllib.loads(f"value = {raw}")["value"]
    except tomllib.TOMLDecodeError:
        value = raw.strip()
    return {section: {key: value}}


def _read_toml(file: Path, shipped: Path | None) -> dict[str, Any]:
    named = shipped / f"{file}.toml" if shipped else None
    if named and not file.is_file() and named.is_file():
        file = named
    try:
        with file.open("rb") as stream:
            return tomllib.load(stream)
    except OSError as error:
        known = ", ".join(sorted(path.stem for path in shipped.glob("*.toml"))) if shipped else ""
        choice = f"a TOML file or one of {known}" if known else "a TOML file"
        raise ConfigError(f"{file}: cannot be read ({error.strerror}); give {choice}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: not valid TOML: {error}") from error


def _merge(kind: type, into: dict[str, dict[str, Any]], values: Mapping[str, Any], *, origin: str) -> None:
    hints = get_type_hints(kind)
    for name, section in values.items():
        _known(name, hints, where="section", origin=origin)
        if not isinstance(section, Mapping):
            raise ConfigError(f"{origin}: {name} is a section, write [{name}] and its keys below it")
        for key in section:
            _known(key, get_type_hints(hints[name]), where=f"key in [{name}]", origin=origin)
        into.setdefault(name, {}).update(section)


def _known(name: str, known: Iterable[str], *, where: str, origin: str = "") -> None:
    names = list(known)
    if name in names:
        return
    nearest = difflib.get_close_matches(name, names, n=1, cutoff=0.0)[0]
    prefix = f"{origin}: " if origin else ""
    raise ConfigError(f"{prefix}unknown {where} {name!r}; did you mean {nearest!r}? Known: {', '.join(names)}")


def _section(cls: type, name: str, values: Mapping[str, Any]) -> Any:
    hints = get_type_hints(cls)
    checked = {}
    for key, value in values.items():
        _known(key, hints, where=f"key in [{name}]")
        checked[key] = _typed(f"{name}.{key}", value, hints[key])
    try:
        return cls(**checked)
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(f"[{name}]: {error}") from error


def _typed(path: str, value: Any, wanted: Any) -> Any:
    kind, parts = get_origin(wanted), get_args(wanted)
    if kind is Literal:
        if value not in parts:
            raise ConfigError(f"{path} must be one of {', '.join(map(str, parts))}, got {value!r}")
        return value
    if kind in (Union, UnionType):
        return None if value is None else _typed(path, value, next(part for part in parts if part is not type(None)))
    if kind is tuple:
        return _row(path, value, parts)
    if kind is not None:
        return _table(path, value, parts)
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not wanted:
        raise ConfigError(f"{path} must be of type {wanted.__name__}, got {value!r}")
    return value


def _row(path: str, value: Any, parts: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a TOML array as a tuple: of one kind and any length, or of one kind for each place."""
    if not isinstance(value, list | tuple):
        raise ConfigError(f"{path} must be an array, got {value!r}")
    kinds = parts[:1] * len(value) if parts[1:] == (Ellipsis,) else parts
    if len(kinds) != len(value):
        raise ConfigError(f"{path} must have {len(kinds)} values, got {value!r}")
    return tuple(
        _typed(f"{path}[{index}]", item, kind) for index, (item, kind) in enumerate(zip(value, kinds, strict=True))
    )


def _table(path: str, value: Any, parts: tuple[Any, ...]) -> dict[Any, Any]:
    """Return a TOML table whose keys, always texts there, may be numbers here."""
    if not isinstance(value, Mapping):
        raise ConfigError(f"{path} must be a table, got {value!r}")
    keys, values = parts
    try:
        return {keys(key): _typed(f"{path}.{key}", item, values) for key, item in value.items()}
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(f"{path}: keys must be of type {keys.__name__}, got {', '.join(map(repr, value))}") from error
