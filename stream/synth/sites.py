"""The web as the organisation sees it: sites by topic and their pages, as numbers. Knows nothing of people or time."""

from typing import Final

import numpy as np

from stream.synth.chance import Flags, Floats, Ints
from stream.synth.words import GENERAL_WORDS, SENSITIVE, SITES, TAIL_ENDS, TAIL_STEMS, TOPICS

PAGES: Final = 24  # pages of a site
UPLOAD_PAGES: Final = 6  # the first of them are for sending something there, on the sites where one can

TOPIC_NAMES: Final = tuple(TOPICS)
TOPIC: Final = {name: number for number, name in enumerate(TOPIC_NAMES)}

_TAIL_TOPICS: Final = ("news", "sport", "shopping", "travel", "social", "music", "cars", "food", "health", "games", "money", "tech")
_listed: Final = [(host, topic) for topic, hosts in SITES.items() for host in hosts.split()]
_tail: Final = [
    (f"{stem}{end}.com", _TAIL_TOPICS[(7 * s + 3 * e) % len(_TAIL_TOPICS)])
    for s, stem in enumerate(TAIL_STEMS)
    for e, end in enumerate(TAIL_ENDS)
]

HOSTS: Final = tuple(host for host, _ in _listed + _tail)
N_SITES: Final = len(HOSTS)
SITE_TOPIC: Final[Ints] = np.array([TOPIC[topic] for _, topic in _listed + _tail], np.int64)
SITES_OF: Final[dict[str, Ints]] = {topic: np.flatnonzero([t == topic for _, t in _listed]).astype(np.int64) for topic in SITES} | {
    "tail": np.arange(len(_listed), N_SITES, dtype=np.int64)
}
SPECIAL: Final[Flags] = np.isin(SITE_TOPIC, [TOPIC[t] for t in SENSITIVE])
ORDINARY_SITES: Final[Ints] = np.flatnonzero(~SPECIAL)
UPLOADS: Final[Flags] = np.isin(SITE_TOPIC, [TOPIC["cloud"], TOPIC["leak"]])

_ENDINGS: Final = ("html", "htm", "php", "asp", "aspx", "jsp")


def popularity() -> Floats:
    """How likely a wanderer lands on each ordinary site: listed ones often, the long tail seldom, sensitive ones not at all."""
    weights = np.where(np.arange(N_SITES) < len(_listed), 6.0, 1.0)
    weights[SPECIAL] = 0.0
    share: Floats = weights / weights.sum()
    return share


def page_urls() -> list[str]:
    """The address of every page, page `site * PAGES + k` at that place; the same for every seed, as on the real web."""
    rng = np.random.Generator(np.random.PCG64(20_100_104))
    # fourteen letters each, as bytes that are cut into words
    letters = rng.integers(97, 97 + 26, (N_SITES * PAGES, 14), dtype=np.uint8).tobytes().decode()
    slugs = [letters[at : at + 14] for at in range(0, len(letters), 14)]
    numbers = rng.integers(10_000_000, 2_000_000_000, N_SITES * PAGES).tolist()
    general = rng.integers(0, len(GENERAL_WORDS), N_SITES * PAGES).tolist()
    urls = []
    for page, (slug, number, word) in enumerate(zip(slugs, numbers, general, strict=True)):
        site, k = divmod(page, PAGES)
        words = TOPICS[TOPIC_NAMES[SITE_TOPIC[site]]].split()
        title = f"{words[k % len(words)].title()}_{words[(5 * k + site) % len(words)].title()}"
        if UPLOADS[site] and k < UPLOAD_PAGES:
            title = "upload"
        urls.append(f"http://{HOSTS[site]}/{title}/{GENERAL_WORDS[word]}/{slug}{number}.{_ENDINGS[(k + site) % len(_ENDINGS)]}")
    return urls
