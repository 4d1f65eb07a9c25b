"""Fewshot: a chat bot that runs its own GPT-2 class language model."""
