"""From labelled rows to a tested head: its kind and setting chosen, fitted, extended, moved elsewhere."""
