"""The demonstration: the real chain on one machine, watched while it runs."""
