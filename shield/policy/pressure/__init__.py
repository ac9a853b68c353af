"""How badly the service is overloaded, whether it is ill by itself, and whether an attack is on.

    window    what happened since the last reading: the one thing that all parts read
    demand    what is asked for, smoothed
    capacity  what the service can do
    signs     what else shows overload: latency, errors, shedding, waiting, Shield's own load
    level     p, from demand over capacity and from the signs
    brownout  a service that became worse by itself
    cutoff    whom to challenge among the known, where they alone ask for too much
    onset     beginning and end of an attack
    cusum     a sudden rise of the rate, which is an onset too
    weather   what all of that says: the one thing that other parts of the policy see
    pressure  puts them together

After Envoy's overload manager: monitors give numbers, nobody reads a monitor's insides, and others act. Here `demand`,
`capacity` and `signs` are the monitors, `level` makes p of them, and the actions are the engine's.
"""
