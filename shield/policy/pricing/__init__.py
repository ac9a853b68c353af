"""What a bought pass costs, how many are issued, and who gets the next one.

pricing.py        the price and the issue
pass_use.py       how much of a pass is used, which says how many can be issued
flash_crowd.py    whether those who solve are people who come all at once
waiting_room.py   who gets the next pass
"""
