"""Model libraries print bars, reports and advice; what matters comes back as a value or an error. Knows only how to hush them."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """Within it, transformers, peft and their kin say nothing, on either stream."""
    from transformers.utils import logging as theirs

    verbosity, bars = theirs.get_verbosity(), theirs.is_progress_bar_enabled()
    theirs.set_verbosity(logging.CRITICAL)
    # it regrets on import that a kernel which it would fetch from a hub is not there
    quantizer = logging.getLogger("bitsandbytes")
    level = quantizer.level
    quantizer.setLevel(logging.CRITICAL)
    theirs.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        quantizer.setLevel(level)
        theirs.set_verbosity(verbosity)
        if bars:
            theirs.enable_progress_bar()
