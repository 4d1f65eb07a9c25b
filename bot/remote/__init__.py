"""Engines on other machines: a server with an API like OpenAI's, behind the face that all engines have."""
