"""Makes LightGBM loadable on machines without the system's OpenMP runtime. Knows nothing of trees.

LightGBM's wheel expects `libgomp.so.1` from the system, which slim images and fresh machines lack; scikit-learn's wheel brings the very
same library under a name of its own. A copy under the expected name, loaded first, is what the dynamic linker then finds.
"""

import contextlib
import ctypes
import importlib
import importlib.util
import tempfile
from pathlib import Path
from types import ModuleType

from stream.errors import ConfigurationError

_WANTED = b"libgomp.so.1"


def load_lightgbm() -> ModuleType:
    """Import LightGBM.

    Raises:
        ConfigurationError: the machine has no OpenMP runtime and scikit-learn's could not take its place.
    """
    try:
        return importlib.import_module("lightgbm")
    except OSError as error:
        for bundled in _bundled():
            _load_as_wanted(bundled)
        try:
            return importlib.import_module("lightgbm")
        except OSError:
            cure = "install the OpenMP runtime (Debian and Ubuntu: apt-get install libgomp1; Fedora: dnf install libgomp)"
            raise ConfigurationError(f"LightGBM cannot be loaded: {error}; {cure}") from error


def _bundled() -> list[Path]:
    """OpenMP runtimes that came with scikit-learn."""
    found = importlib.util.find_spec("sklearn")
    if found is None or found.origin is None:
        return []
    return sorted((Path(found.origin).parent.parent / "scikit_learn.libs").glob("libgomp*.so*"))


def _load_as_wanted(library: Path) -> None:
    """Load a copy of a library whose own name for itself is the one that LightGBM asks for."""
    content = library.read_bytes()
    own = library.name.encode()
    if len(own) < len(_WANTED) or content.count(own + b"\0") != 1:
        return  # not as we know it: LightGBM says in its own words what it lacks
    renamed = content.replace(own + b"\0", _WANTED.ljust(len(own), b"\0") + b"\0")
    with tempfile.TemporaryDirectory(prefix="daywatch-") as place:
        copy = Path(place) / _WANTED.decode()
        copy.write_bytes(renamed)
        with contextlib.suppress(OSError):
            ctypes.CDLL(str(copy), mode=ctypes.RTLD_GLOBAL)
