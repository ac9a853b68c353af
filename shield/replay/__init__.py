"""`shield replay`: what a config would have done to the traffic that access logs tell of.

lines.py        one line of a log, of any format, as a `Line`
json_lines.py   the formats that are JSON: nginx, Caddy, Traefik, HAProxy, Shield
stamps.py       the times that logs write
files.py        logs as lines: plain, .gz, .zst; what cannot be read is counted and named
order.py        lines of several logs, in the order in which the requests came
survey.py       the first reading: how long routes take, what the service can do, who comes regularly
driver.py       the second one: the engine that serves, driven by the times of the log
outcome.py      what came of it: by verdict, reason and rule, and who would have been hurt
report.py       the same in words, and as JSON
scene_file.py   a scene for `shield simulate` out of a survey
command.py      the command
"""
