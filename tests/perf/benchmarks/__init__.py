"""One module for each benchmark. A module of this folder is found by itself: it registers its class in one line."""
