"""The stages of each kind of run, and the runner that takes a folder through them."""
