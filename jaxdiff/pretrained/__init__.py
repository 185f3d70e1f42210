"""Published weights as our parameters: read, renamed, checked. No torch, and no
downloads: an error says which file to fetch, and from where."""
