"""Prompt templates: data, file format, checks, differences and forms."""
