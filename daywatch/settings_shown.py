"""Settings as people read and write them: durations with their units, secrets hidden, an example file. Asks no server, reads nothing.

Knows where values came from only as `origins` says it.
"""

import json
import re
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from daywatch.origins import Given, Origin
from daywatch.settings import Settings, is_duration, setting_fields

HIDDEN = "********"
_UNITS = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1))
_PASSWORD = re.compile(r"(://[^/?#\s:]*:)\S*@")
_PARAMETER = re.compile(r"([?&][^=&]*(?:pass|secret|token|api_?key)[^=&]*=)[^&#\s]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class InForce:
    """One setting: its dotted name, its value as it may be written in a file (hidden when secret), and where that came from."""

    name: str
    value: str | int | float | bool | list[Any] | None
    origin: Origin
    secret: bool = False


def in_force(settings: Settings, said: Given) -> list[InForce]:
    """Every setting, in the order of definition."""
    rows = []
    for name, info in setting_fields().items():
        value: Any = settings
        for part in name.split("."):
            value = getattr(value, part)
        secret = isinstance(value, SecretStr)
        origin = said.origin(name)
        if secret and origin.source == "default":
            origin = said.origin(f"{name}_file")
        rows.append(InForce(name, HIDDEN if secret else written(value, info), origin, secret))
    return rows


def written(value: Any, info: FieldInfo) -> Any:
    """A value as a person would write it: a duration with units, a path as text, an address without its password."""
    if is_duration(info) and isinstance(value, int):
        return format_duration(value)
    if isinstance(value, Path):
        value = str(value)
    if isinstance(value, str):
        return hide(value)
    if isinstance(value, tuple | list | set | frozenset):
        return [written(each, FieldInfo()) for each in value]
    return value if value is None or isinstance(value, bool | int | float) else hide(str(value))


def format_duration(ms: int) -> str:
    """The shortest text that `parse_duration` reads as so many milliseconds; `forever` for less than none.

    >>> format_duration(21_600_000), format_duration(129_600_000), format_duration(0), format_duration(-1)
    ('6h', '1d12h', '0s', 'forever')
    """
    if ms < 0:
        return "forever"
    text = ""
    for unit, size in _UNITS:
        number, ms = divmod(ms, size)
        text += f"{number}{unit}" if number else ""
    return text or "0s"


def hide(text: str) -> str:
    """A text without the passwords that addresses in it hold.

    >>> hide("rediss://ana:s3cret@store:6379/0?ssl_password=x&timeout=3")
    'rediss://ana:********@store:6379/0?ssl_password=********&timeout=3'
    """
    if "://" not in text:
        return text
    return _PARAMETER.sub(rf"\g<1>{HIDDEN}", _PASSWORD.sub(rf"\g<1>{HIDDEN}@", text))


def example() -> Iterator[str]:
    """Lines of a TOML file in which every setting stands, commented out, at its default."""
    yield "# Every setting of Daywatch with its default. Take the # away where you want another value."
    group = ""
    for name, info in setting_fields().items():
        place, _, leaf = name.rpartition(".")
        if place != group:
            group = place
            yield ""
            yield f"[{group}]"
        value = written(_default(name), info)
        choices = " | ".join(str(choice) for choice in _choices(info.annotation))
        secret = "secret" if SecretStr in get_args(info.annotation) else ""
        remark = "; ".join(part for part in (choices, secret, "" if value is not None else "not set") if part)
        yield f"# {leaf} = {_toml(value)}" + (f"  # {remark}" if remark else "")


def _default(name: str) -> Any:
    value: Any = Settings.model_construct()
    for part in name.split("."):
        value = getattr(value, part)
    return value


def _choices(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    if get_origin(annotation) in (Union, types.UnionType):
        return tuple(choice for part in get_args(annotation) for choice in _choices(part))
    return ()


def _toml(value: Any) -> str:
    # TOML's basic strings, numbers, truth values and lists are written as JSON's
    return '""' if value is None else json.dumps(value, ensure_ascii=False)
