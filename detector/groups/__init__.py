"""Which known threat groups a text resembles. Resemblance, never attribution; nothing here reaches a verdict, a score or a severity."""
