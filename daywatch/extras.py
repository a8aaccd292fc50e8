"""Whether what an extra brings along is installed. Imports none of it."""

import sys
from importlib.util import find_spec


def installed(package: str) -> bool:
    """Whether a package can be imported, without importing it.

    >>> installed("json"), installed("no_such_package")
    (True, False)
    """
    # some, Faust among them, put a module without a spec in their place once they are imported, and cannot be looked for any more
    return package in sys.modules or find_spec(package) is not None
