"""Files on disk that tell of addresses: databases of AS and country, and lists of networks.

files.py     opening them, and noticing when they change
mmdb.py      one database in MaxMind's format
lists.py     one file of networks
known.py     all of them: read at the start, and again when they change
trouble.py   what is wrong with them, for those who check the config
"""
