"""Where a backbone's weights lie. Knows names, nothing of what is done with them."""

from pathlib import Path


def mpnet_at(place: str) -> Path:
    """The directory of weights named by a path, a registered name, a hub id or a `package:` name.

    Raises:
        ConfigurationError: PyTorch or the weights are not on this machine; the text says what to install.
    """
    from detector.groups.encoder import torch_or_say
    from detector.models.registry import find

    torch_or_say()
    return find(place).path
