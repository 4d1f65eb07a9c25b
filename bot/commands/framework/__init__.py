"""What a command is, how a line is parsed into a request, and how clicks find their command."""
