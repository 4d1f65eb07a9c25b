"""The fastest precision whose measured perplexity a model allows."""
