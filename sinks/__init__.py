"""How results get out: alerts, their encodings, scorecards."""
