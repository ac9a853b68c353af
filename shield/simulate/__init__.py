"""Attacks against the real policy, with a simulated clock, a model of the service, and people.

    scene.py       what a scene is: the TOML format
    population.py  who takes part
    addresses.py   where everybody is
    calendar.py    what happens when
    origin.py      the service that is shielded
    core.py        Shield's own core, which has work to do
    past.py        what Shield remembers when a scene begins
    people.py      who asks, and how often
    solving.py     what they do with challenges
    world.py       lets time pass: the engine, the service and the people together
    result.py      what everybody got
    story.py       the turning points, in words
    chart.py       the picture

docs/simulate.md describes the format and how to read what comes out.
"""
