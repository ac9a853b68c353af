"""`shield report`: one page of HTML about what has happened, fit to be sent to somebody.

account.py     what a report is made from, and who makes it: a Shield that runs, or its logs
from_shield.py an account out of /api/report
from_logs.py   an account out of log files
advice.py      which limits to look at again
plot.py        plots as SVG, written by hand: no library, no script
page.py        the page
command.py     the command
"""
