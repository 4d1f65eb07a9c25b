"""What can be asked of the model; each request is a generator that names what is to be read."""
