"""Audio as bytes: whether it is what it is said to be, how long it plays, and how pieces become one file."""
