"""What the operator has changed while Shield runs: rules with an author, a note and an end.

rule.py      one rule, and what a wish must be to become one
lockout.py   rules that would lock out the operator, a trusted proxy or everybody
book.py      all rules, and the changes that led to them; what is kept on disk
matching.py  which rule holds for a request
overruled.py asks the rules before the judge
"""
