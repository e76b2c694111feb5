"""Other programs' steps, for `irasim bench speed --compare`."""
