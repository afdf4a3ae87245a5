"""A server on this machine that answers as badly as servers do, and the table of its answers."""
