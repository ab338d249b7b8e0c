"""How good is it? Protocols, figures with intervals, reports."""
