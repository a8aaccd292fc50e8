"""Log lines and what they are about: five labels, a generator of labelled lines, and a sequence classifier for them."""
