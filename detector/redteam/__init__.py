"""Attacks on a detector by the texts that users write, and what they achieve. No attack here works on any system but a prompt."""
