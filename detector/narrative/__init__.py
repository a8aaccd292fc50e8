"""Windows judged by a language model: its prompt, its answer, and what is made of both."""
