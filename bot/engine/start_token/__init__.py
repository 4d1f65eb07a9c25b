"""The start token of plain text: the token after which a model reads ordinary prose best, measured once."""
