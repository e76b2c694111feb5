"""Studies made once, to choose a design; nothing imports them."""
