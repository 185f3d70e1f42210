"""Published weights to our parameters: read, rename, check. No torch, and no
downloads: an error says which file to fetch, and from where."""
