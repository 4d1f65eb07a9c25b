"""The kinds of requests to the model; each is a generator that yields the tokens to feed."""
