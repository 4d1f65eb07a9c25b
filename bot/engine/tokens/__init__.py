"""Tokenizing, detokenizing, vocabulary and chat markup."""
