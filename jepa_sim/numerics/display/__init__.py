"""How objects show themselves: one sheet of facts and numbers, as text and as HTML."""
