"""The policy: model, loader, compile, decide, explain, matrix, lint. Pure."""
