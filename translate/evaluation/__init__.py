"""How good is it? Protocols, metrics with intervals, thresholds, reports."""
