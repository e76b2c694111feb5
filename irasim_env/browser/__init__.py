"""The player in a browser: a page and its players, served from the machine that runs the world."""
