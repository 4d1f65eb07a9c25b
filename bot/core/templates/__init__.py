"""Prompt templates: the data, the file format, checks, differences and forms."""
