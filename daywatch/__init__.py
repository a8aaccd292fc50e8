"""The front door: command line, settings, embedded broker and store, demo."""

__version__ = "0.1.0"
