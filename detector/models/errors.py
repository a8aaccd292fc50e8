"""What can be wrong with a model. Each error is one that somebody does something different about. Knows no library."""

from stream.errors import ConfigurationError

EXTRA = "this needs the extra `llm`: pip install 'daywatch[llm]'"


class NoLibraries(ConfigurationError):
    """PyTorch and its companions are not installed."""


class MissingWeights(ConfigurationError):
    """The weights are not on this machine; the text says what to install or to fetch."""


class MalformedModel(ConfigurationError):
    """The directory holds no model that can be loaded: the text names the file and what is wrong with it."""


class UnsafeWeights(MalformedModel):
    """The weights come as pickles or other files that can run code when they are read."""


class WrongLabels(ConfigurationError):
    """The classifier's label map is not the one asked for."""


class KeysDiffer(MalformedModel):
    """The weights do not cover the architecture exactly: something is missing, left over or of another shape."""


class OtherBase(ConfigurationError):
    """The adapter was made for another base."""


class IdleAdapter(ConfigurationError):
    """The adapter was loaded and changes nothing."""


class TooLittleMemory(ConfigurationError):
    """The model does not fit; the text says how much memory it needs and how much there is."""


class Changed(ConfigurationError):
    """Files are not those that were recorded."""


class UnknownModel(ConfigurationError):
    """No model is known by this name."""
