"""One-off studies: run as modules, no part of `irasim bench`."""
