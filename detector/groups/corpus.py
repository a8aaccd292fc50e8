"""ATT&CK's texts about threat groups, from a STIX bundle: what they did, in whose words, with and without the names. Pure; knows no model.

    bundle -> intrusion sets, "uses" relationships -> clean text (links resolved, citations gone) -> masked text (names replaced)

Most procedure texts begin with the group's name, so that a model which reads them learns to read names. Masking replaces groups,
their aliases, software and campaigns, in links and in plain text.
"""

import gzip
import hashlib
import json
import re
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from stream.errors import ConfigurationError

GROUP_WORDS: Final = "the group"
SOFTWARE_WORDS: Final = "the software"
CAMPAIGN_WORDS: Final = "the campaign"
LEAST_TEXTS: Final = 5
"""Groups with fewer procedure texts are left out: five folds need one text each."""

# bounded, or a text of nothing but brackets would take its time: labels of links are short
_LINK: Final = re.compile(r"\[([^\]]{0,500})\]\(([^()\s]*)\)")
_CITATION: Final = re.compile(r"\(Citation:[^()]*(?:\([^()]*\)[^()]*)*\)")
_TAG: Final = re.compile(r"</?code>|`")
_SPACES: Final = re.compile(r"\s+")
_BEFORE_STOP: Final = re.compile(r"\s+([.,;:!?])(?=\s|$)")
_DOUBLED: Final = re.compile(r"\b(?:the|a|an)\s+(?=the (?:group|software|campaign)\b)", re.IGNORECASE)
_CORPORATE: Final = re.compile(r"\s+(?:Group|Team|Gang|Framework)$", re.IGNORECASE)
_ORDINARY: Final = frozenset(("at", "play", "page", "expand", "ping", "route", "net", "reg", "arp", "cmd", "ftp"))
"""Names that are also words or parts of commands: as plain text they count only in their own spelling, if that has a capital."""


class Origin(StrEnum):
    """Which relationship a text was written for."""

    GROUP = "group"
    CAMPAIGN = "campaign"
    SOFTWARE = "software"


@dataclass(frozen=True, slots=True)
class Procedure:
    """What a group did, as ATT&CK tells it. `groups` are ids, ascending; more than one only where the text is about shared software."""

    groups: tuple[str, ...]
    technique: str
    text: str
    masked: str
    origin: Origin


@dataclass(frozen=True, slots=True)
class Corpus:
    """What a bundle holds about groups. `version` is ATT&CK's, where the bundle says it or the caller knows it."""

    version: str
    sha256: str
    names: Mapping[str, str]
    aliases: Mapping[str, tuple[str, ...]]
    techniques: Mapping[str, str]
    procedures: tuple[Procedure, ...]
    mask: "Mask"

    def lessons(self, least: int = LEAST_TEXTS) -> tuple[Procedure, ...]:
        """Texts about groups themselves, of groups that have at least `least` of them."""
        own = [one for one in self.procedures if one.origin is Origin.GROUP]
        sizes = _sizes(own)
        return tuple(one for one in own if sizes[one.groups[0]] >= least)

    def extras(self, groups: Iterable[str], most: int = 1) -> tuple[Procedure, ...]:
        """Texts about campaigns attributed to those groups, and about software that at most `most` of all groups use."""
        wanted = frozenset(groups)
        kept = (one for one in self.procedures if one.origin is not Origin.GROUP and len(one.groups) <= most)
        return tuple(one for one in kept if wanted.issuperset(one.groups))


def read_corpus(path: Path, version: str | None = None) -> Corpus:
    """Read a STIX 2 bundle of ATT&CK, plain or gzipped.

    Raises:
        ConfigurationError: it cannot be read, is no such bundle, tells no version and none was given, or has no texts about groups.
    """
    try:
        raw = path.read_bytes()
        content = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
        bundle = json.loads(content)
        objects = bundle["objects"] if bundle["type"] == "bundle" else None
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(f"{path} is not a STIX bundle: {type(error).__name__}") from error
    if not isinstance(objects, list):
        raise ConfigurationError(f"{path} is not a STIX bundle: no list of objects")
    return corpus_of(objects, _version(path, objects, version), hashlib.sha256(content).hexdigest())


def corpus_of(objects: Sequence[Mapping[str, Any]], version: str, sha256: str) -> Corpus:
    """The corpus of a bundle's objects; what is revoked or deprecated is left out.

    Raises:
        ConfigurationError: no group has a procedure text.
    """
    alive = {str(one.get("id")): one for one in objects if not one.get("revoked") and not one.get("x_mitre_deprecated")}
    mask = Mask.of(alive.values())
    users = _users(alive)
    procedures = [
        Procedure(groups, _attack_id(alive[target]), clean(text), mask(text), origin)
        for source, target, text in _uses(alive)
        if (found := users.get(source)) and alive[target]["type"] == "attack-pattern"
        for groups, origin in (found,)
    ]
    if not any(one.origin is Origin.GROUP for one in procedures):
        raise ConfigurationError("the bundle has no texts about what groups do (relationships `uses` of intrusion sets)")
    procedures.sort(key=lambda one: (one.origin, one.groups, one.technique, one.text))
    sets = sorted(
        ((_attack_id(one), one) for one in alive.values() if one["type"] == "intrusion-set" and _attack_id(one)), key=lambda pair: pair[0]
    )
    return Corpus(
        version=version,
        sha256=sha256,
        names={key: str(one["name"]) for key, one in sets},
        aliases={key: tuple(_spellings(one)) for key, one in sets},
        techniques=_techniques(alive),
        procedures=tuple(procedures),
        mask=mask,
    )


def clean(text: str) -> str:
    """A text as a reader sees it: links as their words, no citations, no code marks."""
    return _tidy(_LINK.sub(r"\1", _CITATION.sub("", text)))


@dataclass(frozen=True, slots=True)
class Mask:
    """Replaces names of groups, software and campaigns by words for what they are. Longer names win.

    Both tables go from a name's first word to the names that begin with it, the longest first: `exact` in the names' own spelling,
    `loose` in lower case, of names that are telling in any spelling.
    """

    words: Mapping[str, str]
    exact: Mapping[str, tuple[str, ...]]
    loose: Mapping[str, tuple[str, ...]]
    spellings: Mapping[str, str]

    @classmethod
    def of(cls, objects: Iterable[Mapping[str, Any]]) -> "Mask":
        """Learn the names that a bundle knows, aliases included."""
        words: dict[str, str] = {}
        for one in objects:
            kind = _WORDS.get(str(one.get("type")))
            for name in _spellings(one) if kind else ():
                words.setdefault(name, kind or "")
        return cls.of_spellings(words)

    @classmethod
    def of_spellings(cls, words: Mapping[str, str]) -> "Mask":
        """From names, and the words that stand for each."""
        kept = {name: word for name, word in words.items() if name.lower() not in _ORDINARY or name != name.lower()}
        loose = {name.lower(): word for name, word in sorted(kept.items()) if _is_telling(name)}
        return cls({**loose, **kept}, _by_first_word(kept), _by_first_word(loose), dict(words))

    def __call__(self, text: str) -> str:
        """The clean text with all names replaced."""
        linked = _LINK.sub(_of_link, _CITATION.sub("", text))
        return _tidy(_DOUBLED.sub("", _TAG.sub("", self._replaced(linked))))

    def names_in(self, text: str) -> list[str]:
        """The names that stand in a text, as this mask spells them, in the order of the text."""
        return [name for _, _, name in self._found(clean(text))]

    def _replaced(self, text: str) -> str:
        parts, done = [], 0
        for start, end, name in self._found(text):
            parts += [text[done:start], self.words[name]]
            done = end
        return "".join(parts) + text[done:]

    def _found(self, text: str) -> Iterator[tuple[int, int, str]]:
        """Start, end and name of what is to be replaced, from left to right."""
        lower, done = text.lower(), 0
        folded = lower if len(lower) == len(text) else text
        for match in _FIRST.finditer(text):
            start = match.start()
            if start < done:
                continue
            word = match.group()
            for table, within, key in ((self.exact, text, word), (self.loose, folded, word.lower())):
                name = next((n for n in table.get(key, ()) if within.startswith(n, start) and _ends(text, start + len(n))), None)
                if name is not None:
                    done = start + len(name)
                    yield start, done, name
                    break


_FIRST: Final = re.compile(r"(?<![\w.\\/-])\.?\w+")
"""A word where a name may begin: not within a path, a file name or a hyphenated word."""
_FOLLOWS: Final = re.compile(r"[\w-]")


def _ends(text: str, place: int) -> bool:
    return _FOLLOWS.match(text, place) is None


def _by_first_word(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = defaultdict(list)
    for name in names:
        first = _FIRST.match(name)
        if first is not None:
            found[first.group()].append(name)
    return {word: tuple(sorted(those, key=lambda name: (-len(name), name))) for word, those in found.items()}


_WORDS: Final[Mapping[str, str]] = {
    "intrusion-set": GROUP_WORDS,
    "malware": SOFTWARE_WORDS,
    "tool": SOFTWARE_WORDS,
    "campaign": CAMPAIGN_WORDS,
}


def _spellings(one: Mapping[str, Any]) -> list[str]:
    """A name and its aliases, also without what companies end on ("Lazarus Group")."""
    given = [str(one.get("name", "")), *one.get("aliases", ()), *one.get("x_mitre_aliases", ()), _attack_id(one)]
    short = [_CORPORATE.sub("", name) for name in given]
    return [name for name in dict.fromkeys((*given, *(name for name in short if len(name) > 4))) if len(name) > 1]


def _is_telling(name: str) -> bool:
    """Whether a name is one in any spelling: it has a digit, a space or a capital within."""
    return len(name) > 4 and (any(c.isdigit() or c.isspace() for c in name) or name[1:] != name[1:].lower())


def _of_link(match: re.Match[str]) -> str:
    words, place = match.groups()
    for part, word in (("/groups/", GROUP_WORDS), ("/software/", SOFTWARE_WORDS), ("/campaigns/", CAMPAIGN_WORDS)):
        if part in place:
            return word
    return words


def _tidy(text: str) -> str:
    return _BEFORE_STOP.sub(r"\1", _SPACES.sub(" ", _TAG.sub("", text))).strip()


def _sizes(procedures: Iterable[Procedure]) -> Mapping[str, int]:
    sizes: dict[str, int] = defaultdict(int)
    for one in procedures:
        sizes[one.groups[0]] += 1
    return sizes


def _attack_id(one: Mapping[str, Any]) -> str:
    references = one.get("external_references", ())
    return next((str(r["external_id"]) for r in references if r.get("source_name") == "mitre-attack" and "external_id" in r), "")


def _uses(alive: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str, str]]:
    """Source, target and text of the living "uses" relationships between living objects."""
    found = (one for one in alive.values() if one.get("type") == "relationship" and one.get("relationship_type") == "uses")
    ends = ((str(one["source_ref"]), str(one["target_ref"]), str(one.get("description", ""))) for one in found)
    return [(source, target, text) for source, target, text in ends if source in alive and target in alive and text.strip()]


def _users(alive: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[tuple[str, ...], Origin]]:
    """Whose doing a text about that object is."""
    groups = {key: _attack_id(one) for key, one in alive.items() if one.get("type") == "intrusion-set" and _attack_id(one)}
    users: dict[str, set[str]] = defaultdict(set)
    for one in alive.values():
        if one.get("type") != "relationship":
            continue
        source, target = str(one["source_ref"]), str(one["target_ref"])
        if one["relationship_type"] == "attributed-to" and target in groups and source in alive:
            users[source].add(groups[target])
        if one["relationship_type"] == "uses" and source in groups and alive.get(target, {}).get("type") in ("malware", "tool"):
            users[target].add(groups[source])
    others = {
        key: (tuple(sorted(ids)), Origin.CAMPAIGN if alive[key]["type"] == "campaign" else Origin.SOFTWARE) for key, ids in users.items()
    }
    return {**{key: ((name,), Origin.GROUP) for key, name in groups.items()}, **others}


def _techniques(alive: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Names by id; a sub-technique's with its parent's in front."""
    own = {_attack_id(one): str(one["name"]) for one in alive.values() if one.get("type") == "attack-pattern"}
    full = {
        key: f"{own[parent]}: {name}" if (parent := key.partition(".")[0]) != key and parent in own else name for key, name in own.items()
    }
    return dict(sorted(full.items()))


def _version(path: Path, objects: Sequence[Mapping[str, Any]], given: str | None) -> str:
    told = [str(one["x_mitre_version"]) for one in objects if one.get("type") == "x-mitre-collection" and "x_mitre_version" in one]
    if given is None and not told:
        raise ConfigurationError(
            f"{path} does not say which version of ATT&CK it is (no x-mitre-collection): give it with --attack-version"
        )
    if given is not None and told and given not in told:
        raise ConfigurationError(f"{path} is ATT&CK {told[0]}, not {given}")
    return given or told[0]
