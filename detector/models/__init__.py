"""Models as files and as things that can be asked: found, checked, kept by name, loaded. Knows nothing of windows, prompts or labels."""
