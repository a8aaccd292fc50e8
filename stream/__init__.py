"""How events get in: event kinds, decoding, topics, the poll loop, replay, the synthetic organisation."""
