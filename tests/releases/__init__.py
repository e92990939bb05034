"""Two releases of one app, each in a folder of its own, as a rolling deploy meets them."""
