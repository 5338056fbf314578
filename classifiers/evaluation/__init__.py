"""How good a head is, how sure that figure is, and what would make it better."""
