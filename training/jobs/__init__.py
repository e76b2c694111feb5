"""Work in parts that do not depend on each other, over processes here or over many machines."""
