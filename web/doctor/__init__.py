"""`run.py doctor`: is everything there that calls need? Each module looks at one thing and judges it.

What judges is called `judge…`, is pure, and holds the rules, so that tables can test it; the rest touches the
machine, the network or an account.
"""
