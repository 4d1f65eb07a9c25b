"""The model engine: the only package that imports torch and transformers."""
