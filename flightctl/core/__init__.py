"""Use cases and stores. Nothing here parses arguments or prints."""
