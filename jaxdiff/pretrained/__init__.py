"""Published weights as our parameters: read, renamed and checked."""
