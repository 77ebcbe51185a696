"""The loader behind the link of a golden image: the board's SPI flash, and booting what stands in it."""
