"""Configuration: defaults, then a YAML or TOML file, then the environment, then the caller.

A configuration is a frozen dataclass; `load` fills it. Nothing below this module reads the
environment. A key that nobody knows is an error that names its nearest neighbour, because a
misspelt limit that is silently ignored is the worst kind.
"""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import ValidationError, create_model
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
    YamlConfigSettingsSource,
)

C = TypeVar("C")


class ConfigError(ValueError):
    """The configuration is wrong; the message has one line for each fault."""


def load(
    kind: type[C],
    *,
    prefix: str,
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> C:
    """Return a *kind* (a frozen dataclass) filled from all sources.

    *prefix* is that of the environment's names, as in ``QUANTUM_SESSION__`` for
    ``QUANTUM_SESSION__PORT``; nested keys are joined by ``__``. *environment* None reads the
    process's. Raises `ConfigError`.
    """
    if not is_dataclass(kind):
        raise TypeError(f"{kind.__name__} is not a dataclass")
    model = _model_of(kind, prefix, file, environment)
    try:
        loaded = model(**(overrides or {}))
    except ValidationError as error:
        raise ConfigError("\n".join(_sentences(error, kind, file, prefix))) from None
    except (SettingsError, OSError, ValueError) as error:
        raise ConfigError(f"the configuration cannot be read: {error}") from None
    try:
        return cast(C, kind(**{f.name: getattr(loaded, f.name) for f in fields(kind)}))
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _model_of(
    kind: type[Any], prefix: str, file: Path | None, environment: Mapping[str, str] | None
) -> type[BaseSettings]:
    class Sources(BaseSettings):
        model_config = SettingsConfigDict(
            extra="forbid", frozen=True, env_prefix=prefix, env_nested_delimiter="__"
        )

        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            env = _Environment(settings_cls, prefix, environment)
            return (init_settings, env, *_file_source(settings_cls, file))

    definitions: dict[str, Any] = {}
    blank = kind()
    for f in fields(kind):
        definitions[f.name] = (f.type, getattr(blank, f.name))
    return create_model(f"{kind.__name__}Sources", __base__=Sources, **definitions)


class _Environment(EnvSettingsSource):
    """The environment, where a name with our prefix that fits no key is kept, to be refused."""

    def __init__(
        self, settings_cls: type[BaseSettings], prefix: str, given: Mapping[str, str] | None
    ) -> None:
        self._given = given
        super().__init__(settings_cls)
        self._ours = prefix.lower()

    def _load_env_vars(self) -> Mapping[str, str | None]:
        if self._given is None:
            return super()._load_env_vars()
        return {name.lower(): value for name, value in self._given.items()}

    def __call__(self) -> dict[str, Any]:
        found = super().__call__()
        for name, value in self.env_vars.items():
            if name.startswith(self._ours):
                key = name[len(self._ours) :].split("__", 1)[0]
                if key not in self.settings_cls.model_fields:
                    found[key] = value
        return found


def _file_source(
    settings_cls: type[BaseSettings], file: Path | None
) -> tuple[PydanticBaseSettingsSource, ...]:
    if file is None:
        return ()
    if not file.is_file():
        raise ConfigError(f"the configuration file {file} does not exist")
    if file.suffix == ".toml":
        return (TomlConfigSettingsSource(settings_cls, file),)
    if file.suffix in (".yaml", ".yml"):
        try:
            return (YamlConfigSettingsSource(settings_cls, file),)
        except ConfigError:
            raise
        except Exception as error:  # the YAML reader's errors share no base with ValueError
            raise ConfigError(f"{file} is not valid YAML: {error}") from None
    raise ConfigError(f"{file} must end in .yaml, .yml or .toml")


def _sentences(
    error: ValidationError, kind: type[Any], file: Path | None, prefix: str
) -> list[str]:
    lines = []
    for fault in error.errors(include_url=False):
        place = ".".join(str(part) for part in fault["loc"])
        if fault["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            known = _keys_beside(kind, fault["loc"])
            near = get_close_matches(str(fault["loc"][-1]), known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(known))}"
            where = f"{file} or the environment ({prefix}...)" if file else f"{prefix}..."
            lines.append(f"{place!r} in {where} is not a setting; {hint}")
        else:
            lines.append(f"{place!r} is wrong: {fault['msg']} (got {fault['input']!r})")
    return lines


def _keys_beside(kind: type[Any], place: tuple[int | str, ...]) -> list[str]:
    for part in place[:-1]:
        inner = next((f.type for f in fields(kind) if f.name == part), None)
        if not (isinstance(inner, type) and is_dataclass(inner)):
            return []
        kind = inner
    return [f.name for f in fields(kind)]
