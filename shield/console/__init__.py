"""The command line for a Shield that runs: it asks the admin listener (operator/api.py), and says what came of it.

arguments.py    the commands, and help that teaches by examples; imports nothing of Shield
client.py       one question to the admin listener, over TCP or its unix socket
commands.py     what each command asks
show.py         what is answered, in words
completion.py   scripts for bash, zsh and fish, made from the parser
"""
