"""How surprising texts of known kinds are to a model: what a perplexity is compared with."""
