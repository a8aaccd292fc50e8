"""Where the value of a setting came from: a flag, an environment variable, the settings file or a default. Knows names, not what they mean.

Also finds environment variables that were meant as settings and are none. Is handed the environment; reads nothing itself.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

ENV_PREFIX = "DAYWATCH_"
_NO_SETTINGS = ("DAYWATCH_DEBUG", "DAYWATCH_TEST_")
# Kubernetes names the services around a pod in its environment; `_PORT` alone holds an address there
_OF_KUBERNETES = re.compile(r"\w+_(SERVICE_HOST|SERVICE_PORT\w*|PORT_\d+_\w+)")
_FLAGS: Mapping[str, str] = {"namespace": "--namespace", "kafka.bootstrap_servers": "--bootstrap-servers", "store.url": "--store-url"}


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value came from, and there: the flag, the variable's name or the file's path."""

    source: Literal["flag", "environment", "file", "default"]
    place: str = ""

    def __str__(self) -> str:
        match self.source:
            case "flag":
                return "from the command line"  # which of its flags, the person sees there
            case "environment":
                return f"from the environment variable {self.place}"
            case "file":
                return f"from {self.place}"
            case _:
                return "by default"


@dataclass(frozen=True, slots=True)
class Given:
    """Everything that was said about settings, strongest first: flags (dotted names), the environment, the settings file (nested)."""

    flags: Mapping[str, object] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    file_values: Mapping[str, Any] = field(default_factory=dict)
    file: Path | None = None

    def origin(self, name: str) -> Origin:
        """Where the setting of that dotted name is from.

        >>> str(Given(environment={"DAYWATCH_WINDOW__HOP": "3h"}).origin("window.hop"))
        'from the environment variable DAYWATCH_WINDOW__HOP'
        """
        if name in self.flags:
            return Origin("flag", _FLAGS.get(name, f"--set {name}"))
        if (variable := self._variable(name)) is not None:
            return Origin("environment", variable)
        place: Any = self.file_values
        for part in name.split("."):
            place = place.get(part) if isinstance(place, Mapping) else None
        return Origin("default") if place is None else Origin("file", str(self.file))

    def _variable(self, name: str) -> str | None:
        """The variable as it is written: capitals do not matter, and an empty one says nothing."""
        said = {key.upper(): (key, value) for key, value in self.environment.items() if value}
        if found := said.get(variable_of(name)):
            return found[0]
        group, _, leaf = name.partition(".")
        key, whole = said.get(variable_of(group), ("", ""))
        # a whole group may be given as JSON
        return key if leaf and leaf in _mapping(whole) else None

    def misnamed(self, names: Iterable[str]) -> dict[str, str]:
        """Variables that look like settings and are none, each with what may have been meant (or an empty text).

        What Kubernetes puts there under our prefix is left alone.

        >>> Given(environment={"DAYWATCH_WINDOW_HOP": "3h", "DAYWATCH_PORT": "tcp://10.0.0.1:80"}).misnamed(["window.hop"])
        {'DAYWATCH_WINDOW_HOP': 'DAYWATCH_WINDOW__HOP'}
        """
        known = {variable_of(name) for name in names}
        groups = {variable_of(name.partition(".")[0]) for name in names if "." in name}
        flat = {variable.replace("__", "_"): variable for variable in known}
        found = {}
        for key, value in self.environment.items():
            name = key.upper()
            ours = name.startswith(ENV_PREFIX) and not name.startswith(_NO_SETTINGS)
            if not ours or not value or value.startswith(("tcp://", "udp://")) or _OF_KUBERNETES.fullmatch(name):
                continue
            if name in known or name in groups or any(name.startswith(f"{group}__") for group in groups):
                continue  # what is wrong within a group is found when the group is read
            near = get_close_matches(name.replace("__", "_"), flat, n=1, cutoff=0.85)
            if near or "__" in name:
                found[key] = flat[near[0]] if near else ""
        return found


def variable_of(name: str) -> str:
    """The environment variable of a setting.

    >>> variable_of("kafka.sasl_password")
    'DAYWATCH_KAFKA__SASL_PASSWORD'
    """
    return ENV_PREFIX + name.upper().replace(".", "__")


def _mapping(text: str) -> Mapping[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
