"""The card of a completion: drawing continuations, and walking the tree of all that was written."""
