"""The config file: its settings, its checks, and the manual made from them."""
