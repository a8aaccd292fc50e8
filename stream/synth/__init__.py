"""A synthetic organisation with insiders in it, written as a CERT r4.2 directory. Knows nothing of brokers, windows or detectors."""

from stream.synth.writer import FIRST_DAY, SEMANTICS, Progress, Summary, write_organisation

__all__ = ["FIRST_DAY", "SEMANTICS", "Progress", "Summary", "write_organisation"]
