"""What a case of bad input is: what is broken, who meets it, what is said, how that ends. The documentation's table is made of these."""

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of bad input, and the promise about it; `says` is literal text, where … stands for anything."""

    name: str
    command: str
    says: str
    code: int
    ends: str

    @property
    def slug(self) -> str:
        """A name for a test, a user or a file."""
        return re.sub(r"[^a-z0-9]+", "-", f"{self.command} {self.name}".lower()).strip("-")

    def is_said_in(self, text: str) -> bool:
        """Whether the text holds the promised message; white space counts as one blank, as a terminal may break lines."""
        pattern = ".*?".join(re.escape(" ".join(part.split())) for part in self.says.split("…"))
        return re.search(pattern, " ".join(text.split())) is not None


def is_decent(error_output: str) -> bool:
    """Whether what stands on standard error is meant for people: no traceback, and nothing that nobody foresaw."""
    return "Traceback" not in error_output and "error: unexpected " not in error_output and "Exception ignored" not in error_output
